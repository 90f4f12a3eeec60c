"""What tests share: servers, odd orders, and references that they are judged by."""
