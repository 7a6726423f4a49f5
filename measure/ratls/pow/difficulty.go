package pow

import (
	"fmt"
	"net/netip"
)

// DefaultRaised is the most that a loaded server asks for (attestation.md section 5): 16 times the default work.
const DefaultRaised = 24

// Schedule says how hard a server's challenges are.
type Schedule struct {
	// Base is asked of everybody while the server is calm.
	Base int
	// Raised is asked when all places for pending handshakes are taken; from half of them on, difficulty rises
	// from Base towards it. A value below Base means Base.
	Raised int
	// Exempt networks are asked for nothing, at any load.
	Exempt []netip.Prefix
}

// DefaultSchedule is the reference implementation's difficulty, raised under load.
func DefaultSchedule() Schedule { return Schedule{Base: DefaultDifficulty, Raised: DefaultRaised} }

// Validate returns what is wrong with the schedule.
func (s Schedule) Validate() error {
	if s.Base < 0 || s.Base > MaxDifficulty {
		return fmt.Errorf("checking proof of work: difficulty is %d, want 0..%d", s.Base, MaxDifficulty)
	}
	if s.Raised > MaxDifficulty {
		return fmt.Errorf("checking proof of work: raised difficulty is %d, want at most %d", s.Raised, MaxDifficulty)
	}
	return nil
}

// For is the difficulty for a peer while pending of limit handshakes are under way; limit 0 means no limit.
func (s Schedule) For(peer netip.Addr, pending, limit int) int {
	peer = peer.Unmap()
	for _, network := range s.Exempt {
		if network.Contains(peer) {
			return 0
		}
	}
	over, room := pending-limit/2, limit-limit/2
	if limit <= 0 || over <= 0 || s.Raised <= s.Base {
		return s.Base
	}
	// Rounded up: the first handshake over the half makes a difference.
	rise := ((s.Raised-s.Base)*min(over, room) + room - 1) / room
	return s.Base + rise
}
