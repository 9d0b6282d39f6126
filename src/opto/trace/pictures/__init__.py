"""Pictures of graphs: graphviz, and SVG, Mermaid and plain text that need nothing installed.

May import: the standard library, `opto.trace.nodes`; `graphviz` only where its Digraph is made. The tape does not
import this package: `backward(visualize=True)` asks `opto.registry` for it. Read in this order: `style` (the look of a
node), `drawing` (nodes → boxes and edges, pure data), `fold` (large drawings made small), `layout` (positions), `svg`,
`mermaid`, `listing`, `dot` (one rendering each), `picture` (the object that users hold).
"""
