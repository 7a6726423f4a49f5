package pricing

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"

	"cocoon/tests/golden"
)

// vector is adjust_tokens.json.
type vector struct {
	Corpus struct {
		Multipliers []int64 `json:"multipliers"`
		Triples     int     `json:"triples"`
		Differ      int     `json:"differ_from_exact_integer"`
		SHA256      string  `json:"sha256_of_difference_list"`
	} `json:"corpus"`
	Triples []struct {
		Tokens, Coefficient, Multiplier, Result int64
	} `json:"triples"`
}

func TestVectors(t *testing.T) {
	var v vector
	golden.JSON(t, "protocol/adjust_tokens.json", &v)
	for _, c := range v.Triples {
		want := max(c.Result, 0) // negative inputs are refused at the edge and never earn a negative number
		if got := Adjust(c.Tokens, c.Coefficient, c.Multiplier); got != want {
			t.Errorf("Adjust(%d, %d, %d) = %d, want %d", c.Tokens, c.Coefficient, c.Multiplier, got, want)
		}
	}
}

// TestEveryDifferenceFromTheExactInteger: over the whole corpus, the places where floating point rounds otherwise are
// those of the reference implementation.
func TestEveryDifferenceFromTheExactInteger(t *testing.T) {
	var v vector
	golden.JSON(t, "protocol/adjust_tokens.json", &v)
	var list strings.Builder
	triples, differ := 0, 0
	for tokens := int64(1); tokens <= 3000; tokens++ {
		for c := int64(1); c <= 3998; c += 7 {
			for _, m := range v.Corpus.Multipliers {
				triples++
				got, exact := Adjust(tokens, c, m), tokens*c*m/10_000_000
				if got != exact {
					differ++
					fmt.Fprintf(&list, "%d,%d,%d,%d,%d\n", tokens, c, m, got, exact)
				}
			}
		}
	}
	sum := sha256.Sum256([]byte(list.String()))
	if triples != v.Corpus.Triples || differ != v.Corpus.Differ || hex.EncodeToString(sum[:]) != v.Corpus.SHA256 {
		t.Errorf("%d triples, %d differ, list %x", triples, differ, sum)
	}
}

func TestBill(t *testing.T) {
	m := Multipliers{10_000, 1000, 20_000, 30_000}
	for name, tc := range map[string]struct {
		tokens Tokens
		coef   int64
		want   Billed
	}{
		"the specification's example":  {Tokens{34, 11, 100, 10}, 1500, Billed{34, 1, 270, 45}},
		"cached above prompt":          {Tokens{34, 50, 0, 0}, 1000, Billed{0, 3, 0, 0}},
		"reasoning above completion":   {Tokens{0, 0, 5, 9}, 1000, Billed{0, 0, 0, 15}},
		"negative counts cost nothing": {Tokens{-5, -5, -5, -5}, 1000, Billed{}},
		"nothing":                      {Tokens{}, 4000, Billed{}},
	} {
		if got := Bill(tc.tokens, tc.coef, m); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
	if total := (Billed{34, 1, 270, 45}).Total(); total != 350 {
		t.Errorf("total %d", total)
	}
}

// FuzzReserve: whatever a worker within the limits can report costs no more than what was reserved.
func FuzzReserve(f *testing.F) {
	f.Add(int64(300), int64(1000), int64(1), int64(4000), int64(10_000), int64(80_000), int64(7))
	f.Add(int64(1), int64(1<<31-1), int64(8), int64(999_999_999), int64(40_000), int64(90_000), int64(3))
	f.Add(int64(10<<20), int64(1), int64(1), int64(1), int64(1), int64(1), int64(1))
	f.Add(int64(0), int64(1), int64(8), int64(1000), int64(0), int64(0), int64(0))
	f.Add(int64(77), int64(15), int64(1), int64(960), int64(12_500), int64(12_500), int64(5))
	f.Fuzz(func(t *testing.T, query, maxTokens, n, coefficient, mp, mc, part int64) {
		bound := func(x, most int64) int64 { return new(big.Int).Mod(big.NewInt(x), big.NewInt(most+1)).Int64() }
		a := Ask{
			QueryBytes: bound(query, 10<<20), MaxTokens: 1 + bound(maxTokens, 1<<31-2), N: 1 + bound(n, 7),
			MaxCoefficient: 1 + bound(coefficient, 999_999_998),
		}
		m := Multipliers{Prompt: bound(mp, 1_000_000), Cached: bound(mp/3, 1_000_000), Completion: bound(mc, 1_000_000), Reasoning: bound(mc/2, 1_000_000)}
		reserved := Reserve(a, m)
		used := Tokens{Prompt: a.QueryBytes + ChatAllowance, Completion: a.N * a.MaxTokens}
		used.Cached, used.Reasoning = bound(part, used.Prompt), bound(part*7, used.Completion)
		for _, c := range []int64{1, a.MaxCoefficient / 2, a.MaxCoefficient} {
			b := Bill(used, c, m)
			total := new(big.Int)
			for _, x := range []int64{b.Prompt, b.Cached, b.Completion, b.Reasoning} {
				if x < 0 {
					t.Fatalf("negative: %+v", b)
				}
				total.Add(total, big.NewInt(x))
			}
			// Four truncated parts may round up where one product rounds down: two tokens at most.
			if limit := big.NewInt(reserved); reserved < math.MaxInt64 && total.Cmp(limit.Add(limit, big.NewInt(2))) > 0 {
				t.Fatalf("%+v bills %s of %d reserved", a, total, reserved)
			}
		}
	})
}
