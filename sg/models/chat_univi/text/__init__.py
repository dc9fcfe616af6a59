"""From dialogs to token ids and labels."""
