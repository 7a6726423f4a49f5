package sched

import (
	"math"
	"time"
)

const (
	// fadeHalf is how long it takes for an outcome to count half (protocol.md section 10.2).
	fadeHalf = 7 * 24 * time.Hour
	// prior is how many outcomes a new worker is taken to have had, half of them good: it starts in the middle, and the first
	// few do not decide about it.
	prior = 20.0
	// poor is a standing below which a worker is only explored.
	poor = 0.2
	// maxStandings bounds the standings that are remembered of workers who are not connected.
	maxStandings = 4096
)

// standing is the record of a worker, which survives its connections.
type standing struct {
	good, bad   float64 // outcomes, faded to at
	at          time.Time
	connections int
}

// fade lets what is known count less, by the time that has gone by.
func (s *standing) fade(now time.Time) {
	if age := now.Sub(s.at); age > 0 && !s.at.IsZero() {
		keep := math.Exp2(-float64(age) / float64(fadeHalf))
		s.good, s.bad = s.good*keep, s.bad*keep
	}
	s.at = now
}

// note counts an outcome. What the caller is to blame for says nothing.
func (s *standing) note(o Outcome, now time.Time) {
	switch o {
	case Served:
		s.fade(now)
		s.good++
	case Failed:
		s.fade(now)
		s.bad++
	case Neutral:
	}
}

// success is the share of good outcomes, in (0,1).
func (s *standing) success() float64 { return (s.good + prior/2) / (s.good + s.bad + prior) }

// standings are those of all workers by what names them. A worker without a name has one of its own, for its connection.
type standings map[string]*standing

// meet is the standing of a worker that has connected.
func (all standings) meet(name string, now time.Time) *standing {
	s := all[name]
	if s == nil {
		s = new(standing)
		if name != "" {
			all.makeRoom()
			all[name] = s
		}
	}
	s.connections++
	s.fade(now)
	return s
}

// makeRoom forgets who is not connected when there are too many: first those of whom nearly nothing is known.
func (all standings) makeRoom() {
	for _, least := range []float64{1, math.Inf(1)} {
		if len(all) < maxStandings {
			return
		}
		for name, s := range all {
			if s.connections == 0 && s.good+s.bad < least {
				delete(all, name)
			}
		}
	}
}
