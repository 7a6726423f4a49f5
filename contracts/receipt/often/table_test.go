package often

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"slices"
	"testing"

	"filippo.io/edwards25519"
)

// uniform is a scalar that follows from a text.
func uniform(tb testing.TB, text []byte) *edwards25519.Scalar {
	tb.Helper()
	digest := sha512.Sum512(text)
	s, err := new(edwards25519.Scalar).SetUniformBytes(digest[:])
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// edges are scalars at which digits are made in an unusual way, and some others.
func edges(tb testing.TB) (list []*edwards25519.Scalar) {
	tb.Helper()
	add := func(raw []byte) {
		s, err := new(edwards25519.Scalar).SetCanonicalBytes(raw)
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, s)
	}
	small := func(n uint64) []byte { return append(binary.LittleEndian.AppendUint64(nil, n), make([]byte, 24)...) }
	add(small(0))
	for bit := 0; bit < 62; bit += 2 { // where a digit turns negative, for every width
		for n := uint64(1)<<bit - 1; n <= 1<<bit+1; n++ {
			add(small(n))
		}
	}
	for _, b := range []byte{0xff, 0xaa, 0x55, 0x01, 0x80, 0x7f} { // a carry through everything, and digits at every word's end
		raw := bytes.Repeat([]byte{b}, 32)
		raw[31] &= 0x0f
		add(raw)
	}
	for n := range byte(4) { // the largest ones
		most := unhex(tb, order)
		most[0] -= n + 1
		add(most)
	}
	for n := range byte(16) {
		list = append(list, uniform(tb, []byte{n}))
	}
	return list
}

// points are some of the curve: of small order, of the large one, and of a mixed one.
func points(tb testing.TB) (list []*edwards25519.Point) {
	tb.Helper()
	for _, raw := range oddPoints {
		if p, err := new(edwards25519.Point).SetBytes(unhex(tb, raw)); err == nil {
			list = append(list, p)
		}
	}
	for n := range byte(4) {
		p := new(edwards25519.Point).ScalarBaseMult(uniform(tb, []byte{n}))
		list = append(list, p, new(edwards25519.Point).Negate(p), new(edwards25519.Point).Add(p, list[n+1]))
	}
	return append(list, edwards25519.NewGeneratorPoint())
}

// ours is a point in the form of this package.
func ours(p *edwards25519.Point) point {
	x, y, z, t := p.ExtendedCoordinates()
	return point{*x, *y, *z, *t}
}

// TestPointsAddUp: sums, differences and doubles of every two points, against the library's.
func TestPointsAddUp(t *testing.T) {
	list := points(t)
	for i, p := range list {
		double := ours(p)
		double.double()
		if want := new(edwards25519.Point).Double(p); !bytes.Equal(double.bytes(), want.Bytes()) {
			t.Errorf("twice point %d is wrong", i)
		}
		for j, q := range list {
			of := toAffine([]edwards25519.Point{*p, *q}, twiceD())[1] // with a factor to take out again
			sum, difference := ours(p), ours(p)
			sum.add(&of, false)
			difference.add(&of, true)
			if want := new(edwards25519.Point).Add(p, q); !bytes.Equal(sum.bytes(), want.Bytes()) {
				t.Errorf("the sum of points %d and %d is wrong", i, j)
			}
			if want := new(edwards25519.Point).Subtract(p, q); !bytes.Equal(difference.bytes(), want.Bytes()) {
				t.Errorf("point %d less point %d is wrong", i, j)
			}
			for _, got := range []point{double, sum, difference} { // what follows rests on T, too, which the bytes do not show
				if _, err := new(edwards25519.Point).SetExtendedCoordinates(&got.x, &got.y, &got.z, &got.t); err != nil {
					t.Errorf("points %d and %d: %v", i, j, err)
				}
			}
		}
	}
}

// TestTablesMultiply: by narrow digits and by those that are used, at the ends of what scalars can be, against the library's
// own multiplication.
func TestTablesMultiply(t *testing.T) {
	for i, p := range points(t) {
		tables := []*table{newTable(p, 2), newTable(p, keyWidth), newTable(p, generatorWidth)}
		for _, s := range edges(t) {
			want := new(edwards25519.Point).ScalarMult(s, p).Bytes()
			for _, table := range tables {
				var alone sum
				alone.add(table, s)
				if got := alone.point(); !bytes.Equal(got.bytes(), want) {
					t.Fatalf("width %d: %x times point %d is wrong", table.width, s.Bytes(), i)
				}
			}
		}
	}
}

// TestDigitsAreApart: by their width at least, which is what the cost rests on.
func TestDigitsAreApart(t *testing.T) {
	for width := 2; width <= generatorWidth; width++ {
		table := newTable(edwards25519.NewGeneratorPoint(), width)
		for _, s := range edges(t) {
			var alone sum
			alone.add(table, s)
			var bits []int
			for round, n := range alone.count {
				for _, term := range alone.terms[round][:n] {
					bits = append(bits, round+spacing*pieceOf(t, table, term.of))
				}
			}
			slices.Sort(bits)
			for i := range len(bits) - 1 {
				if bits[i+1]-bits[i] < width {
					t.Fatalf("width %d: %x has digits at bits %v", width, s.Bytes(), bits)
				}
			}
		}
	}
}

func pieceOf(t *testing.T, in *table, of *affine) int {
	t.Helper()
	for i := range in.odd {
		for j := range in.odd[i] {
			if of == &in.odd[i][j] {
				return i
			}
		}
	}
	t.Fatal("a term that is not of the table")
	return 0
}

// FuzzSum: two scalars times two points, against the library's sum of such products.
func FuzzSum(f *testing.F) {
	generator := newTable(edwards25519.NewGeneratorPoint(), generatorWidth)
	most := unhex(f, order)
	most[0]--
	for _, p := range oddPoints {
		f.Add(unhex(f, p), most, bytes.Repeat([]byte{0x0f}, 32))
	}
	f.Fuzz(func(t *testing.T, public, a, b []byte) {
		p, err := new(edwards25519.Point).SetBytes(public)
		if err != nil {
			return
		}
		read := func(raw []byte) *edwards25519.Scalar {
			if s, err := new(edwards25519.Scalar).SetCanonicalBytes(raw); err == nil {
				return s
			}
			return uniform(t, raw)
		}
		x, y := read(a), read(b)
		var both sum
		both.add(newTable(p, keyWidth), x)
		both.add(generator, y)
		got := both.point()
		if want := new(edwards25519.Point).VarTimeDoubleScalarBaseMult(x, p, y); !bytes.Equal(got.bytes(), want.Bytes()) {
			t.Fatalf("%x times %x and %x times the generator: %x, want %x", x.Bytes(), public, y.Bytes(), got.bytes(), want.Bytes())
		}
	})
}
