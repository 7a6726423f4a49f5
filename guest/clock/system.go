package clock

import (
	"fmt"
	"time"

	"github.com/beevik/ntp"
	"golang.org/x/sys/unix"
)

// System is the Syncer of a real guest.
func System() Syncer {
	return Syncer{Now: time.Now, Set: setSystemClock, Query: queryNTP}
}

func setSystemClock(t time.Time) error {
	tv := unix.NsecToTimeval(t.UnixNano())
	return unix.Settimeofday(&tv)
}

func queryNTP(server string, timeout time.Duration) (time.Duration, error) {
	resp, err := ntp.QueryWithOptions(server, ntp.QueryOptions{Timeout: timeout})
	if err != nil {
		return 0, err
	}
	if err := resp.Validate(); err != nil {
		return 0, fmt.Errorf("checking the answer: %w", err)
	}
	return resp.ClockOffset, nil
}
