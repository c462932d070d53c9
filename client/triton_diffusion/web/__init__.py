"""The web page: `triton-diffusion serve-web`.

`page.py` holds the controls and `server.py` listens; no other module knows Gradio. What the page shows is HTML of
`view.py`, made from one `Run`; `snippets.py` writes the code to copy.
"""
