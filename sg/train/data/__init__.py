"""What a stage trains on: dialogs and captions as samples, their clips and visual tokens, batches."""
