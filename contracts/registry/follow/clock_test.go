package follow

import (
	"testing"
	"time"
)

// TestTimeIsWhatTheChainHasProven: the machine's clock holds between the newest block's time, carried on by a clock that nobody
// sets, and the age that a block may have; set back it is held at the first, set ahead at the second.
func TestTimeIsWhatTheChainHasProven(t *testing.T) {
	const slack = 10 * time.Minute
	genesis := time.Unix(1_800_000_000, 0)
	type block struct{ seen, time time.Duration } // since genesis
	for name, tc := range map[string]struct {
		blocks []block
		// elapsed is the true time since genesis, set what the machine's clock is ahead of it.
		elapsed, set time.Duration
		want         time.Duration
	}{
		"no block yet":                       {nil, time.Minute, -time.Hour, time.Minute - time.Hour},
		"between the two":                    {[]block{{5 * time.Second, 0}}, time.Minute, 0, time.Minute},
		"a little ahead":                     {[]block{{0, 0}}, time.Minute, slack, time.Minute + slack},
		"set ahead":                          {[]block{{0, 0}}, time.Minute, slack + time.Second, time.Minute + slack},
		"set back":                           {[]block{{0, 0}}, time.Minute, -time.Nanosecond, time.Minute},
		"set back by a year, the chain late": {[]block{{5 * time.Second, 0}}, time.Minute, -365 * 24 * time.Hour, 55 * time.Second},
		"set back on a frozen chain":         {[]block{{0, 0}}, 30 * 24 * time.Hour, -24 * time.Hour, 30 * 24 * time.Hour},
		"the block that came soonest counts": {[]block{{5 * time.Second, 0}, {12 * time.Second, 10 * time.Second}, {30 * time.Second, 20 * time.Second}}, time.Minute, -time.Hour, 58 * time.Second},
		"a fast clock is begun anew":         {[]block{{0, 0}, {time.Hour, time.Hour - time.Second}}, 2 * time.Hour, -24 * time.Hour, 2*time.Hour - time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var elapsed time.Duration
			c := chainClock{
				local: func() time.Time { return genesis.Add(elapsed + tc.set) }, elapsed: func() time.Duration { return elapsed }, slack: slack,
			}
			for _, b := range tc.blocks {
				elapsed = b.seen
				c.saw(genesis.Add(b.time))
			}
			elapsed = tc.elapsed
			if got := c.now().Sub(genesis); got != tc.want {
				t.Errorf("%s after genesis, want %s", got, tc.want)
			}
		})
	}
}

// TestAClockThatIsSetBackDoesNotMakeARootYoung: with the machine's clock set back, and blocks withheld, a root gets too old all
// the same.
func TestAClockThatIsSetBackDoesNotMakeARootYoung(t *testing.T) {
	w := newWorld(t)
	var elapsed time.Duration
	f, err := New(w.section(), Deps{Now: w.now, Elapsed: func() time.Duration { return elapsed }, Dial: w.dial})
	check(t, err)
	check(t, f.Refresh(t.Context()))
	if _, err := f.Snapshot(); err != nil {
		t.Fatal(err)
	}
	w.freeze()
	elapsed += f.Section().MaxAge + time.Minute
	if _, err := f.Snapshot(); err == nil {
		t.Error("the machine's clock stands still, and so does the root's age")
	}
	if age := f.Now().Sub(w.now()); age < f.Section().MaxAge {
		t.Errorf("time is %s ahead of the clock that was set back", age)
	}
	if age := f.State().Age; age < f.Section().MaxAge {
		t.Errorf("the root is shown as %s old", age)
	}
}
