"""What a person reads: sentences, curves, picture sheets, the page and the model card."""
