package pow

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultCPU bounds one search (attestation.md section 14.3): difficulty 28 takes 20 s on average.
const DefaultCPU = 30 * time.Second

// checkEvery is how many hashes pass between looks at the clock and the context, well under a millisecond.
const checkEvery = 4096

// Effort is what a client is willing to spend on one challenge.
type Effort struct {
	// Accepted is the greatest difficulty to start on.
	Accepted int
	// CPU bounds the processor time of the search.
	CPU time.Duration
	// used tells the calling thread's processor time; tests replace it.
	used func() (time.Duration, error)
}

// DefaultEffort is the reference implementation's limit with our bound on time.
func DefaultEffort() Effort { return Effort{Accepted: DefaultAccepted, CPU: DefaultCPU} }

// Solve searches the smallest nonce from zero on, in the calling goroutine. It refuses a challenge above the accepted
// difficulty without working, and gives up with ErrTooHard when the processor time is spent.
func (e Effort) Solve(ctx context.Context, c Challenge) (int64, error) {
	if err := c.check(); err != nil {
		return 0, fmt.Errorf("solving challenge: %w: %w", ErrFormat, err)
	}
	if c.Difficulty > e.Accepted {
		return 0, fmt.Errorf("solving challenge: %w: difficulty is %d, accepted are at most %d", ErrTooHard, c.Difficulty, e.Accepted)
	}
	nonce, err := e.search(ctx, c)
	if err != nil {
		return 0, fmt.Errorf("solving challenge of difficulty %d: %w", c.Difficulty, err)
	}
	return nonce, nil
}

func (e Effort) search(ctx context.Context, c Challenge) (int64, error) {
	var input [SaltSize + 8]byte
	copy(input[:], c.Salt[:])
	var spent time.Duration
	for nonce := int64(0); nonce < math.MaxInt64-checkEvery; nonce += checkEvery {
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		if spent >= e.CPU {
			return 0, fmt.Errorf("%w: %s of processor time are spent after %d hashes", ErrTooHard, e.CPU, nonce)
		}
		found, ok, err := e.round(&input, nonce, c.Difficulty, &spent)
		if ok || err != nil {
			return found, err
		}
		runtime.Gosched() // between rounds, so that who waits for a processor holds no thread
	}
	return 0, fmt.Errorf("%w: no nonce satisfies it", ErrTooHard)
}

// round is one scan, whose processor time is added to what was spent. That is counted per thread, which the round keeps, and
// which the search does not: a process has more connections than it may have threads.
func (e Effort) round(input *[SaltSize + 8]byte, from int64, difficulty int, spent *time.Duration) (int64, bool, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	used := e.used
	if used == nil {
		used = threadCPU
	}
	before, err := used()
	if err != nil {
		return 0, false, err
	}
	found, ok := scan(input, from, difficulty)
	after, err := used()
	if err != nil {
		return 0, false, err
	}
	*spent += after - before
	return found, ok, nil
}

// scan tries checkEvery nonces.
func scan(input *[SaltSize + 8]byte, from int64, difficulty int) (int64, bool) {
	for nonce := from; nonce < from+checkEvery; nonce++ {
		binary.LittleEndian.PutUint64(input[SaltSize:], uint64(nonce)) //nolint:gosec // the field is signed
		digest := sha256.Sum256(input[:])
		if bits.LeadingZeros64(binary.LittleEndian.Uint64(digest[:])) >= difficulty {
			return nonce, true
		}
	}
	return 0, false
}

func threadCPU() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0, fmt.Errorf("reading processor time: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}
