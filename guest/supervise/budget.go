package supervise

import "time"

// budget remembers recent restarts and says whether another is allowed and after which pause.
type budget struct {
	policy Restart
	times  []time.Time
}

// next records a restart at now, or reports false when the policy is exhausted.
func (b *budget) next(now time.Time) (time.Duration, bool) {
	recent := b.times[:0]
	for _, t := range b.times {
		if now.Sub(t) < b.policy.Window {
			recent = append(recent, t)
		}
	}
	b.times = recent
	if len(b.times) >= b.policy.Max {
		return 0, false
	}
	pause, most := b.policy.Backoff, b.policy.MaxBackoff
	if most == 0 {
		most = b.policy.Window
	}
	for range b.times {
		pause = min(2*pause, most)
	}
	b.times = append(b.times, now)
	return pause, true
}
