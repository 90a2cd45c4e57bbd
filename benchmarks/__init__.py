"""Speed, cost and accuracy, as ratios against named rivals measured in one run."""
