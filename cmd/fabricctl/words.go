package main

import (
	"fmt"
	"strings"
	"time"
)

// date is a time as lists show it; nothing for the zero time.
func date(t time.Time) string {
	if t.Unix() <= 0 {
		return ""
	}
	return t.UTC().Format("2006/01/02 15:04 UTC")
}

// dateOf is a time of the API (RFC 3339) as lists show it.
func dateOf(s string) string {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return s
	}
	return date(t)
}

// ago is how long something has been the way it is, in its two largest units.
func ago(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Second:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd %dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// size is a number of bytes in the largest unit that it fills.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	v, u := float64(n), 0
	for v >= 1024 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	if u == 0 {
		return fmt.Sprintf("%dB", n)
	}
	return fmt.Sprintf("%.2f%s", v, units[u])
}

// yesNo is a bool as lists show it.
func yesNo(b bool) string {
	if b {
		return "YES"
	}
	return "NO"
}

// short is the beginning of a fingerprint that people can tell apart.
func short(fingerprint string) string { return fingerprint[:min(12, len(fingerprint))] }

// last is the last element of a path, such as the name of an object in its URL.
func last(path string) string { return path[strings.LastIndex(path, "/")+1:] }

// upper is a word of the API as lists show it.
func upper(s string) string { return strings.ToUpper(s) }
