"""Old import paths: `opto.utils.llm` and `opto.utils.auto_retry`. Nothing inside the house imports them."""
