"""The page: `triton-diffusion serve-web`.

`page.py` holds its controls and is the only module that knows Gradio, `server.py` listens. What is shown is HTML of
`view.py`, made from one `Run`; `snippets.py` writes the code to copy.
"""
