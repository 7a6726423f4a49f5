package often

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"slices"
	"sync"
	"testing"

	"filippo.io/edwards25519"
)

// order is that of the group, little endian.
const order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010"

// oddPoints are encodings of points of small order, and others that are not canonical or no point.
var oddPoints = []string{
	"0100000000000000000000000000000000000000000000000000000000000000", // the identity
	"0000000000000000000000000000000000000000000000000000000000000000", // of order 4
	"0000000000000000000000000000000000000000000000000000000000000080",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // of order 2
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // of order 8
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // the identity with y = p + 1
	"0100000000000000000000000000000000000000000000000000000000000080", // the identity with the sign of -0
	"0200000000000000000000000000000000000000000000000000000000000000", // not on the curve
	"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	raw, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// judge compares verdicts with those of crypto/ed25519.
type judge struct {
	generator *table
	keys      map[string]*key // nil for what is none
}

func newJudge() judge {
	return judge{newTable(edwards25519.NewGeneratorPoint(), generatorWidth), make(map[string]*key)}
}

func (j judge) agrees(t *testing.T, public, message, signature []byte) (good bool) {
	t.Helper()
	want := ed25519.Verify(public, message, signature)
	k, met := j.keys[string(public)]
	if !met {
		k, _ = newKey(public, j.generator)
		j.keys[string(public)] = k
	}
	if got := k != nil && k.verify(message, signature) == nil; got != want {
		t.Fatalf("key %x, signature %x: %v, crypto/ed25519 says %v", public, signature, got, want)
	}
	return want
}

// TestVerdictsAreThoseOfTheStandardLibrary: on good signatures, on every bit of one turned over, and on scalars that are
// not reduced.
func TestVerdictsAreThoseOfTheStandardLibrary(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	public, message, j := []byte(key[32:]), []byte("message"), newJudge()
	signature := ed25519.Sign(key, message)
	if !j.agrees(t, public, message, signature) {
		t.Fatal("a good signature is refused")
	}
	for bit := range 8 * len(signature) {
		signature[bit/8] ^= 1 << (bit % 8)
		if j.agrees(t, public, message, signature) {
			t.Errorf("bit %d does not matter", bit)
		}
		signature[bit/8] ^= 1 << (bit % 8)
	}
	carry, twin := 0, bytes.Clone(signature)
	for i, b := range unhex(t, order) { // S and S + order are the same but for their encoding
		carry += int(signature[32+i]) + int(b)
		twin[32+i], carry = byte(carry), carry>>8
	}
	for name, bad := range map[string][]byte{"S above the order": twin, "short": signature[:63], "long": append(bytes.Clone(signature), 0), "none": nil} {
		if j.agrees(t, public, message, bad) {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestOddPoints: keys and nonces of small order and odd encodings, with every combination of which some pass the equation.
func TestOddPoints(t *testing.T) {
	passed, j := 0, newJudge()
	for _, a := range oddPoints {
		for _, r := range oddPoints {
			for n := range 8 {
				signature := append(unhex(t, r), make([]byte, 32)...)
				signature[32] = byte(n / 4)
				if j.agrees(t, unhex(t, a), []byte{byte(n)}, signature) {
					passed++
				}
			}
		}
	}
	if passed == 0 {
		t.Error("no combination passes: nothing was compared but refusals")
	}
}

// TestMixedOrder: keys and nonces with a part of small order. The equation without a cofactor takes an eighth of what one
// with a cofactor would take.
func TestMixedOrder(t *testing.T) {
	small, err := new(edwards25519.Point).SetBytes(unhex(t, oddPoints[4]))
	if err != nil {
		t.Fatal(err)
	}
	scalar := func(of []byte) *edwards25519.Scalar { return uniform(t, of) }
	secret := scalar([]byte("secret"))
	a := new(edwards25519.Point).ScalarBaseMult(secret)
	public := a.Add(a, small).Bytes()
	passed, tries, j := 0, 256, newJudge()
	for n := range tries {
		nonce, message := scalar([]byte{byte(n)}), []byte{byte(n), 1}
		point := new(edwards25519.Point).ScalarBaseMult(nonce)
		if n%2 == 1 { // with the least part of small order, or none
			point.Add(point, small)
		}
		r := point.Bytes()
		s := new(edwards25519.Scalar).MultiplyAdd(scalar(slices.Concat(r, public, message)), secret, nonce)
		if j.agrees(t, public, message, append(r, s.Bytes()...)) {
			passed++
		}
	}
	if passed < tries/16 || passed > tries/4 {
		t.Errorf("%d of %d pass", passed, tries)
	}
}

// TestACacheIsBoundedAndSaysTheSame: before and after a key has its table, for keys that are none, and beside each other.
func TestACacheIsBoundedAndSaysTheSame(t *testing.T) {
	c := new(Cache)
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := range 3 * maxKeys {
				key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i)}, ed25519.SeedSize))
				if w == 0 {
					key = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) // comes often
				}
				public, signature := ed25519.PublicKey(key[32:]), ed25519.Sign(key, []byte("m"))
				if !c.Verify(public, []byte("m"), signature) || c.Verify(public, []byte("n"), signature) {
					t.Errorf("worker %d, key %d: a wrong verdict", w, i)
				}
			}
		})
	}
	group.Wait()
	if len(c.keys) > maxKeys {
		t.Errorf("%d keys are remembered", len(c.keys))
	}
	none := unhex(t, oddPoints[len(oddPoints)-2])
	for range 2 * worthIt {
		if c.Verify(none, nil, make([]byte, 64)) || c.Verify(none[:31], nil, make([]byte, 64)) {
			t.Error("a key that is none")
		}
	}
	if (*Cache)(nil).Verify(none, nil, nil) {
		t.Error("a nil cache accepts everything")
	}
}

func FuzzVerify(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	f.Add([]byte(key[32:]), []byte("m"), ed25519.Sign(key, []byte("m")))
	for i, p := range oddPoints {
		f.Add(unhex(f, p), []byte{byte(i)}, append(unhex(f, oddPoints[0]), make([]byte, 32)...))
	}
	j := newJudge()
	f.Fuzz(func(t *testing.T, public, message, signature []byte) {
		clear(j.keys)
		if len(public) == ed25519.PublicKeySize {
			j.agrees(t, public, message, signature)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public, message := ed25519.PublicKey(key[32:]), make([]byte, 2600)
	signature := ed25519.Sign(key, message)
	for name, c := range map[string]*Cache{"standard": nil, "often": new(Cache)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if !c.Verify(public, message, signature) {
					b.Fatal("refused")
				}
			}
		})
	}
}
