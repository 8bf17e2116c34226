"""What a collection is worth: photos decoded, copies and bursts found, labels checked, leaks reported."""
