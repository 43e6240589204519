"""Training runs on the Hugging Face Hub: which revisions there are, and how their bytes come here."""
