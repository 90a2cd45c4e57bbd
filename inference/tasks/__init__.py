"""Answers to users' questions, each with one pair of story and guide."""
