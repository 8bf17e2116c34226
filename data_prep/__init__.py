"""Raw collections become manifests, one script a step; they import `siamese`, and it never imports them."""
