-- Events that stay on the days that are written anew, beside those that a replacement brings.
SELECT * FROM held WHERE list_contains(getvariable('footfall_touched'), day)
