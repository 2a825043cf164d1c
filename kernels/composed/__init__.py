"""What is merely composed of products and epilogues, written once over a small namespace of operations."""
