"""One call on its way: what was asked, of whom, how far it is, and how it goes on."""
