"""Pictures of graphs: graphviz, and SVG, Mermaid and plain text that need nothing installed.

May import: the standard library, `opto.trace.nodes`; `graphviz` only where its Digraph is made. This file imports
nothing, because `opto.trace.nodes` takes the style guides from here. Read in this order: `style` (what a node looks
like), `drawing` (nodes → boxes and edges, pure data), `fold` (large drawings made small), `layout` (positions), `svg`,
`mermaid`, `plain`, `dot` (one rendering each), `picture` (the object that users hold).
"""
