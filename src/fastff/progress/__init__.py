"""How far a whole run is: what it trains, and what the logs of its jobs say."""
