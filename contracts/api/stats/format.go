package stats

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Short writes a number for a person: three digits that count, and a suffix for thousands.
func Short(v float64) string {
	a := math.Abs(v)
	for _, s := range []struct {
		from, unit float64
		suffix     string
	}{{999.5e9, 1e12, "T"}, {999.5e6, 1e9, "G"}, {999.5e3, 1e6, "M"}, {9999.5, 1e3, "k"}} {
		if a >= s.from {
			return digits(v/s.unit) + s.suffix
		}
	}
	return digits(v)
}

// digits writes three digits that count, whole numbers whole.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case a == 0 || math.IsNaN(v):
		return "0"
	case a >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a < 0.001:
		return strconv.FormatFloat(v, 'g', 2, 64)
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}

// Milliseconds writes a short duration for a person.
func Milliseconds(d time.Duration) string {
	switch {
	case d >= 100*time.Second:
		return Span(d)
	case d >= time.Second:
		return digits(d.Seconds()) + " s"
	default:
		return digits(float64(d.Microseconds())/1000) + " ms"
	}
}

// Span writes a long duration for a person, in its largest unit.
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%d h", d/time.Hour)
	default:
		return fmt.Sprintf("%d days", d/day)
	}
}

// Ago writes an age for a person.
func Ago(d time.Duration) string {
	if d < time.Second {
		return "just now"
	}
	return Span(d) + " ago"
}

// Bytes writes a size for a person.
func Bytes(n float64) string {
	for _, s := range []struct {
		unit float64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= s.unit {
			return digits(n/s.unit) + " " + s.name
		}
	}
	return digits(n) + " B"
}

// Coins writes an amount given in nanoTON: as TON, or as nanoTON where that would be a row of zeros.
func Coins(nano float64) (value, unit string) {
	const coin, small = 1e9, 1e6
	if nano > 0 && nano < small {
		return Short(nano), "nanoTON"
	}
	return Short(nano / coin), "TON"
}

// Percent writes a share between 0 and 1.
func Percent(share float64) string {
	if math.IsNaN(share) {
		return "-"
	}
	return strconv.FormatFloat(100*share, 'f', 1, 64)
}

// Share is the colour of a share of successes.
func Share(share float64) Health {
	const good, fair = 0.99, 0.9
	switch {
	case share >= good:
		return Good
	case share >= fair:
		return Degraded
	default:
		return Bad
	}
}

// Hash shortens a hash or an address to what tells it from others at a glance.
func Hash(text string) string {
	const head, tail = 10, 6
	if len(text) <= head+tail+1 {
		return text
	}
	return text[:head] + "…" + text[len(text)-tail:]
}

// amount writes a value of a chart with its unit.
func amount(v float64, unit string) string {
	switch {
	case math.IsNaN(v):
		return "-"
	case unit == "ms":
		return Milliseconds(time.Duration(v * float64(time.Millisecond)))
	default:
		return Short(v)
	}
}
