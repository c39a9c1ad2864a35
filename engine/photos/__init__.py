"""From a photo to an aligned training image: load, detect, align, judge, deduplicate."""
