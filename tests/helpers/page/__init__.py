"""What the tests of the page share: servers, browsers and calls of the API."""
