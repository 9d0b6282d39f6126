"""The values that a parameter may take: `node(0.7, trainable=True, space=Float(0, 2))`.

A space is a projection that knows all the values it allows. It is told to the model as a sentence, read by a sampler
as a range, and applied before anything is spent on evaluating a value: a value becomes the nearest allowed one, or is
refused with a reason. May import: the standard library, `opto.errors`, `opto.execution`, `opto.syntax`. The seam,
`Space`, is in `space.py`; read that first, then `numbers.py`, `choice.py`, `text.py`, `code.py`.
"""

from opto.trace.spaces.choice import Choice
from opto.trace.spaces.code import Code
from opto.trace.spaces.numbers import Float, Int
from opto.trace.spaces.space import Space, plain_value, space_of
from opto.trace.spaces.text import Text

__all__ = ["Choice", "Code", "Float", "Int", "Space", "Text", "plain_value", "space_of"]
