package often

import (
	"encoding/binary"
	"slices"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

const (
	// pieces is how many parts of a scalar share their doublings, spacing how many bits each part has.
	pieces, spacing = 16, 16
	// scalarBits is how many bits are looked at. A reduced scalar is below 2^253, so that the last digit leaves no carry.
	scalarBits = pieces * spacing
)

// table has odd multiples of a point: odd[i][j] is 2^(spacing*i) * (2j+1) times the point. It is for digits of so many bits
// as its width, the sign among them.
type table struct {
	width int
	odd   [pieces][]affine
}

// newTable makes a table of 480 bytes * 2^width.
func newTable(p *edwards25519.Point, width int) *table {
	t, step, d2 := &table{width: width}, new(edwards25519.Point).Set(p), twiceD()
	multiples := make([]edwards25519.Point, 1<<(width-2))
	for i := range t.odd {
		twice := new(edwards25519.Point).Double(step)
		multiples[0].Set(step)
		for j := range multiples[1:] {
			multiples[j+1].Add(&multiples[j], twice)
		}
		t.odd[i] = toAffine(multiples, d2)
		for range spacing {
			step.Double(step)
		}
	}
	return t
}

// toAffine divides by every Z at the cost of one division: what is left of the inverse of a product when the other factors
// are taken out again is the inverse of one (Montgomery's trick).
func toAffine(points []edwards25519.Point, d2 *field.Element) []affine {
	product, before := new(field.Element).One(), make([]field.Element, len(points))
	for i := range points {
		before[i].Set(product)
		_, _, z, _ := points[i].ExtendedCoordinates()
		product.Multiply(product, z)
	}
	rest, out := product.Invert(product), make([]affine, len(points))
	for i := range slices.Backward(points) {
		x, y, z, _ := points[i].ExtendedCoordinates()
		inverse := before[i].Multiply(&before[i], rest)
		rest.Multiply(rest, z)
		x.Multiply(x, inverse)
		y.Multiply(y, inverse)
		out[i].plus.Add(y, x)
		out[i].minus.Subtract(y, x)
		out[i].product.Multiply(x, y)
		out[i].product.Multiply(&out[i].product, d2)
	}
	return out
}

// sum is what two scalars times their points come to, before it is worked out: the terms of a round are doubled as often
// as its number says.
type sum struct {
	terms [spacing][2 * pieces]term
	count [spacing]int
}

// term is a multiple of a table, added or subtracted.
type term struct {
	of       *affine
	negative bool
}

// add takes a scalar times the point of a table, digit by digit from the lowest bit. A digit starts at a bit that is set
// and is odd; one that is negative leaves a carry, so that there may be none for a while (a non-adjacent form).
func (s *sum) add(t *table, scalar *edwards25519.Scalar) {
	var words [scalarBits/64 + 1]uint64
	for i, raw := 0, scalar.Bytes(); len(raw) > 0; i, raw = i+1, raw[8:] {
		words[i] = binary.LittleEndian.Uint64(raw)
	}
	limit, carry := uint64(1)<<t.width, uint64(0)
	for bit := 0; bit < scalarBits; {
		digit := (words[bit/64]>>(bit%64)|words[bit/64+1]<<(64-bit%64))&(limit-1) + carry
		if digit%2 == 0 {
			bit++
			continue
		}
		carry = 0
		negative := digit > limit/2
		if negative {
			digit, carry = limit-digit, 1
		}
		round := bit % spacing
		s.terms[round][s.count[round]] = term{&t.odd[bit/spacing][digit/2], negative}
		s.count[round]++
		bit += t.width
	}
}

// point works the sum out.
func (s *sum) point() point {
	p := identity()
	for round := spacing - 1; round >= 0; round-- {
		p.double()
		for _, t := range s.terms[round][:s.count[round]] {
			p.add(t.of, t.negative)
		}
	}
	return p
}
