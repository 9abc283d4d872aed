"""Pictures, videos and webcams: reading, pre-processing, compositing and writing. No torch here."""
