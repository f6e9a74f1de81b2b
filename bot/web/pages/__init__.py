"""The Gradio pages: `/` for customers, `/desk` for staff. The one folder that imports gradio."""
