package pow

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/big"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cocoon/tests/golden"
)

type vectors struct {
	PoW struct {
		Challenge  string `json:"challenge_d20"`
		Response   string `json:"response_nonce_0x0102030405060708"`
		Salt       string
		FirstValid []struct {
			Difficulty int
			Digest     string
			FirstNonce int64 `json:"first_nonce"`
		} `json:"first_valid"`
	}
}

func read(tb testing.TB) vectors {
	tb.Helper()
	var v vectors
	golden.JSON(tb, "attestation/wire_vectors.json", &v)
	return v
}

func TestMessagesAreTheGoldenBytes(t *testing.T) {
	v := read(t)
	want := golden.Hex(t, v.PoW.Challenge)
	c, err := ParseChallenge(want)
	if err != nil {
		t.Fatal(err)
	}
	if c.Difficulty != 20 || hex.EncodeToString(c.Salt[:]) != v.PoW.Salt {
		t.Errorf("challenge is %+v, want difficulty 20 and salt %s", c, v.PoW.Salt)
	}
	if got := c.Append(nil); !bytes.Equal(got, want) {
		t.Errorf("challenge is written %x, want %x", got, want)
	}
	want = golden.Hex(t, v.PoW.Response)
	nonce, err := ParseResponse(want)
	if err != nil || nonce != 0x0102030405060708 {
		t.Errorf("nonce is %#x (%v)", nonce, err)
	}
	if got := AppendResponse(nil, nonce); !bytes.Equal(got, want) {
		t.Errorf("response is written %x, want %x", got, want)
	}
}

func TestSolveFindsTheGoldenNonces(t *testing.T) {
	v := read(t)
	for _, c := range v.PoW.FirstValid {
		ch := Challenge{Difficulty: c.Difficulty, Salt: [SaltSize]byte(golden.Hex(t, v.PoW.Salt))}
		if err := ch.Check(c.FirstNonce); err != nil {
			t.Errorf("difficulty %d: %v", c.Difficulty, err)
		}
		if c.Difficulty > 8 { // 2^16 hashes and more are for benchmarks
			continue
		}
		nonce, err := DefaultEffort().Solve(t.Context(), ch)
		if err != nil || nonce != c.FirstNonce {
			t.Errorf("difficulty %d: nonce %d (%v), want %d", c.Difficulty, nonce, err, c.FirstNonce)
		}
	}
}

// TestZeroBitsAreThoseOfTheLittleEndianNumber computes the rule a second time, with big numbers.
func TestZeroBitsAreThoseOfTheLittleEndianNumber(t *testing.T) {
	salt := [SaltSize]byte{1, 2, 3}
	for nonce := range int64(2000) {
		input := append(salt[:], make([]byte, 8)...)
		for i := range 8 {
			input[SaltSize+i] = byte(nonce >> (8 * i))
		}
		digest := sha256.Sum256(input)
		var reversed [8]byte
		for i := range 8 {
			reversed[i] = digest[7-i]
		}
		if got, want := zeroBits(salt, nonce), 64-new(big.Int).SetBytes(reversed[:]).BitLen(); got != want {
			t.Fatalf("nonce %d: %d zero bits, want %d", nonce, got, want)
		}
	}
}

func TestCheckIsTightAtTheDifficulty(t *testing.T) {
	c := Challenge{Salt: [SaltSize]byte{9}}
	zeros := zeroBits(c.Salt, 77)
	c.Difficulty = zeros
	if err := c.Check(77); err != nil {
		t.Errorf("with %d zero bits: %v", zeros, err)
	}
	c.Difficulty++
	if err := c.Check(77); !errors.Is(err, ErrWrong) {
		t.Errorf("with one zero bit too few: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	good := Challenge{Difficulty: 20}.Append(nil)
	edit := func(at int, b ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], b)
		return out
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":               {nil, "0 bytes, want 24"},
		"short":               {good[:23], "23 bytes"},
		"long":                {append(bytes.Clone(good), 0), "25 bytes"},
		"another tag":         {edit(0, 0x16, 3, 1, 2), "it starts 0x02010316"},
		"negative difficulty": {edit(4, 0xff, 0xff, 0xff, 0xff), "difficulty is -1"},
		"difficulty 65":       {edit(4, 65), "difficulty is 65"},
		"great difficulty":    {edit(4, 0, 0, 0, 1), "difficulty is 16777216"},
	} {
		_, err := ParseChallenge(c.data)
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that has %q", name, err, c.want)
		}
	}
	for name, data := range map[string][]byte{"short": make([]byte, 11), "long": make([]byte, 13), "tag": make([]byte, 12)} {
		if _, err := ParseResponse(data); !errors.Is(err, ErrFormat) {
			t.Errorf("response, %s: error %v", name, err)
		}
	}
}

func TestNewRefusesWhatCannotBeWritten(t *testing.T) {
	for _, difficulty := range []int{-1, 65} {
		if _, err := New(difficulty, bytes.NewReader(make([]byte, 64))); err == nil {
			t.Errorf("difficulty %d is accepted", difficulty)
		}
	}
	if _, err := New(0, bytes.NewReader(make([]byte, 15))); err == nil {
		t.Error("a salt of 15 bytes is accepted")
	}
	c, err := New(64, bytes.NewReader(bytes.Repeat([]byte{5}, 16)))
	if err != nil || c.Salt != [SaltSize]byte(bytes.Repeat([]byte{5}, 16)) {
		t.Errorf("challenge %+v (%v)", c, err)
	}
}

func TestSolveDoesNotStartAboveTheLimit(t *testing.T) {
	effort := Effort{Accepted: 28, CPU: time.Minute, used: func() (time.Duration, error) {
		t.Error("the search began")
		return 0, nil
	}}
	if _, err := effort.Solve(t.Context(), Challenge{Difficulty: 29}); !errors.Is(err, ErrTooHard) {
		t.Errorf("difficulty 29: %v", err)
	}
	if _, err := effort.Solve(t.Context(), Challenge{Difficulty: -1}); !errors.Is(err, ErrFormat) {
		t.Errorf("difficulty -1: %v", err)
	}
}

func TestSolveStopsWhenItsTimeIsSpent(t *testing.T) {
	var clock time.Duration
	effort := Effort{Accepted: 64, CPU: time.Second, used: func() (time.Duration, error) {
		clock += 100 * time.Millisecond
		return clock, nil
	}}
	_, err := effort.Solve(t.Context(), Challenge{Difficulty: 64})
	if !errors.Is(err, ErrTooHard) || !strings.Contains(err.Error(), "after 40960 hashes") {
		t.Errorf("error %v, want an end after ten rounds", err)
	}
}

func TestSolveSpendsRealProcessorTime(t *testing.T) {
	effort := Effort{Accepted: 64, CPU: 5 * time.Millisecond}
	if _, err := effort.Solve(t.Context(), Challenge{Difficulty: 64}); !errors.Is(err, ErrTooHard) {
		t.Errorf("error %v, want the end of its processor time", err)
	}
}

// TestSearchesShareThreads: those who wait for a processor do not keep a thread meanwhile. Services may have few hundred of
// them, and a process that gets no more is lost.
func TestSearchesShareThreads(t *testing.T) {
	const searches = 40
	before := threads(t)
	var all sync.WaitGroup
	for range searches {
		all.Go(func() {
			_, err := Effort{Accepted: 64, CPU: 25 * time.Millisecond}.Solve(t.Context(), Challenge{Difficulty: 64})
			if !errors.Is(err, ErrTooHard) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if more := threads(t) - before; more > searches/2 {
		t.Errorf("%d searches at once made %d threads", searches, more)
	}
}

// threads is how many the process has; Go keeps those that it has made.
func threads(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skipf("threads cannot be counted here: %v", err)
	}
	_, rest, _ := strings.Cut(string(status), "\nThreads:\t")
	text, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSolveStopsWithItsContext(t *testing.T) {
	cause := errors.New("the caller left")
	ctx, cancel := context.WithCancelCause(t.Context())
	rounds := 0
	effort := Effort{Accepted: 64, CPU: time.Hour, used: func() (time.Duration, error) {
		if rounds++; rounds == 3 {
			cancel(cause)
		}
		return 0, nil
	}}
	if _, err := effort.Solve(ctx, Challenge{Difficulty: 64}); !errors.Is(err, cause) {
		t.Errorf("error %v, want %v", err, cause)
	}
}

func TestScheduleRisesWithLoad(t *testing.T) {
	s := DefaultSchedule()
	s.Exempt = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		schedule       Schedule
		peer           string
		pending, limit int
		want           int
	}{
		"calm":                  {s, "192.0.2.1", 0, 1024, 20},
		"half of the places":    {s, "192.0.2.1", 512, 1024, 20},
		"one above the half":    {s, "192.0.2.1", 513, 1024, 21},
		"three quarters":        {s, "192.0.2.1", 768, 1024, 22},
		"nearly full":           {s, "192.0.2.1", 1023, 1024, 24},
		"full":                  {s, "192.0.2.1", 1024, 1024, 24},
		"beyond":                {s, "192.0.2.1", 5000, 1024, 24},
		"limit of one":          {s, "192.0.2.1", 1, 1, 24},
		"no limit":              {s, "192.0.2.1", 5000, 0, 20},
		"exempt":                {s, "10.1.2.3", 1024, 1024, 0},
		"exempt, mapped":        {s, "::ffff:10.1.2.3", 1024, 1024, 0},
		"exempt, IPv6":          {s, "2001:db8::1", 1024, 1024, 0},
		"raised is below base":  {Schedule{Base: 8}, "192.0.2.1", 1024, 1024, 8},
		"no address":            {s, "", 0, 1024, 20},
		"nothing is asked ever": {Schedule{}, "192.0.2.1", 0, 10, 0},
	} {
		peer, _ := netip.ParseAddr(c.peer)
		if got := c.schedule.For(peer, c.pending, c.limit); got != c.want {
			t.Errorf("%s: difficulty %d, want %d", name, got, c.want)
		}
	}
	previous := 0
	for pending := range 1100 {
		got := s.For(netip.MustParseAddr("192.0.2.1"), pending, 1024)
		if got < previous || got > s.Raised {
			t.Fatalf("%d pending: difficulty %d after %d", pending, got, previous)
		}
		previous = got
	}
}

func TestScheduleValidate(t *testing.T) {
	for _, s := range []Schedule{{Base: -1}, {Base: 65}, {Base: 1, Raised: 65}} {
		if s.Validate() == nil {
			t.Errorf("%+v is accepted", s)
		}
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(Challenge{Difficulty: 20, Salt: [SaltSize]byte{0, 1, 2, 3}}.Append(nil))
	f.Add(Challenge{Difficulty: 64}.Append(nil))
	f.Add(AppendResponse(nil, 0x0102030405060708))
	f.Add(AppendResponse(nil, -1))
	f.Add([]byte{0x91, 0x12, 0x8e, 0x41, 0xff, 0xff, 0xff, 0xff})
	f.Add(bytes.Repeat([]byte{0xff}, 24))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := ParseChallenge(data); err == nil {
			if !bytes.Equal(c.Append(nil), data) {
				t.Errorf("challenge %x is written %x", data, c.Append(nil))
			}
			if _, err := (Effort{Accepted: 4, CPU: time.Second}).Solve(t.Context(), c); (err == nil) != (c.Difficulty <= 4) {
				t.Errorf("difficulty %d: %v", c.Difficulty, err)
			}
		}
		if nonce, err := ParseResponse(data); err == nil && !bytes.Equal(AppendResponse(nil, nonce), data) {
			t.Errorf("response %x is written %x", data, AppendResponse(nil, nonce))
		}
	})
}

// BenchmarkHash is the price of one attempt; difficulty d takes 2^d of them on average.
func BenchmarkHash(b *testing.B) {
	var input [SaltSize + 8]byte
	b.ReportAllocs()
	for n := int64(0); b.Loop(); n += checkEvery {
		scan(&input, n, MaxDifficulty)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/checkEvery, "ns/hash")
}
