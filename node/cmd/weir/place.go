package main

import (
	"strconv"
	"strings"
	"time"
)

// placesHelp explains places to --help.
const placesHelp = `Places in a topic:

  start, end      the oldest record there is, or after the newest (also beginning, earliest, latest)
  1000            this offset
  -5, +5          five before the end, or five after the start, in each partition
  @2026-11-21T08:00:00Z   the first record that is not older; also @2026-11-21, "@2026-11-21 08:00" (local time), @1763712000000
                          (milliseconds) and @-90m (that long ago: s, m, h, d)`

// placeKind says how a place is given.
type placeKind uint8

const (
	atStart placeKind = iota
	atEnd
	atOffset
	fromStart // n after the start
	fromEnd   // n before the end
	atTime
)

// place is a place in every partition of a topic.
type place struct {
	kind   placeKind
	offset int64 // or the distance
	time   time.Time
}

// parsePlace reads a place; flag is whose value it is.
func parsePlace(flag, s string, now time.Time) (place, error) {
	switch strings.ToLower(s) {
	case "start", "beginning", "earliest", "oldest":
		return place{kind: atStart}, nil
	case "end", "latest", "newest", "now":
		return place{kind: atEnd}, nil
	}
	if text, ok := strings.CutPrefix(s, "@"); ok {
		t, err := parseTime(text, now)
		if err != nil {
			return place{}, usage("%s: %v", flag, err)
		}
		return place{kind: atTime, time: t}, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		switch {
		case strings.HasPrefix(s, "+"):
			return place{kind: fromStart, offset: n}, nil
		case strings.HasPrefix(s, "-"):
			return place{kind: fromEnd, offset: -n}, nil
		}
		return place{kind: atOffset, offset: n}, nil
	}
	if t, err := parseTime(s, now); err == nil && !strings.HasPrefix(s, "-") {
		return place{kind: atTime, time: t}, nil
	}
	return place{}, usage("%s is start, end, an offset, -N, +N or @TIME such as @2026-11-21T08:00:00Z or @-1h, not %q", flag, s)
}

// timeError says how times are written.
type timeError struct{ text string }

func (e *timeError) Error() string {
	return strconv.Quote(e.text) + " is no time: 2026-11-21T08:00:00Z, 2026-11-21, milliseconds since 1970, or -90m for that long ago"
}

// parseTime reads a time: RFC 3339, local without zone, milliseconds since 1970, or a duration from now.
func parseTime(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	if s == "now" {
		return now, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		return time.UnixMilli(n), nil
	}
	if d, err := parseDuration(s); err == nil {
		return now.Add(d), nil
	}
	return time.Time{}, &timeError{s}
}

// parseDuration is time.ParseDuration that knows days.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil {
			return time.Duration(n * float64(24*time.Hour)), nil
		}
	}
	return time.ParseDuration(s)
}
