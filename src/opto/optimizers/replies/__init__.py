"""From whatever a model answered to a value that is believed, or a reason why not.

In reading order: `shapes` (which shape a reply has, and what it says of each part), `json_replies` (JSON, strict or
mended by json-repair; marks of what was cut off), `tags_and_fences`, `patches` (edits in the place of a whole text),
`values` (what is said as a value of the parameter's type).
"""
