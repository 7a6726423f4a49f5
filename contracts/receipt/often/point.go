package often

import "filippo.io/edwards25519/field"

// point is one of the curve -x^2 + y^2 = 1 + dx^2y^2 in extended coordinates: x = X/Z, y = Y/Z, xy = T/Z. The formulas are
// those of Hisil, Wong, Carter and Dawson, "Twisted Edwards Curves Revisited" (eprint 2008/522). They hold for all points,
// those of small order and the identity, too.
type point struct{ x, y, z, t field.Element }

// affine is a point in the form that is cheap to add: y+x, y-x and 2dxy.
type affine struct{ plus, minus, product field.Element }

// twiceD is 2d, where d is -121665/121666 (RFC 8032 section 5.1).
func twiceD() *field.Element {
	const numerator, denominator = 121665, 121666
	one := new(field.Element).One()
	d := new(field.Element).Invert(new(field.Element).Mult32(one, denominator))
	return d.Negate(d.Mult32(d, 2*numerator))
}

func identity() (p point) {
	p.y.One()
	p.z.One()
	return p
}

// add is section 3.1, where the Z of q is 1. The negative of q has -x instead of x.
func (p *point) add(q *affine, negative bool) {
	plus, minus := &q.plus, &q.minus
	if negative {
		plus, minus = minus, plus
	}
	var a, b, c, d, e, f, g, h field.Element
	a.Multiply(a.Subtract(&p.y, &p.x), minus)
	b.Multiply(b.Add(&p.y, &p.x), plus)
	c.Multiply(&p.t, &q.product)
	d.Add(&p.z, &p.z)
	e.Subtract(&b, &a)
	f.Subtract(&d, &c)
	g.Add(&d, &c)
	h.Add(&b, &a)
	if negative {
		p.set(&e, &g, &f, &h)
		return
	}
	p.set(&e, &f, &g, &h)
}

// double is section 3.3, with the signs of E, F, G and H turned over.
func (p *point) double() {
	var a, b, c, e, f, g, h field.Element
	a.Square(&p.x)
	b.Square(&p.y)
	c.Square(&p.z)
	c.Add(&c, &c)
	h.Add(&a, &b)
	e.Square(e.Add(&p.x, &p.y))
	e.Subtract(&h, &e)
	g.Subtract(&a, &b)
	f.Add(&c, &g)
	p.set(&e, &f, &g, &h)
}

func (p *point) set(e, f, g, h *field.Element) {
	p.x.Multiply(e, f)
	p.y.Multiply(g, h)
	p.z.Multiply(f, g)
	p.t.Multiply(e, h)
}

// bytes is the one encoding of the point that is canonical (RFC 8032 section 5.1.2).
func (p *point) bytes() []byte {
	inverse := new(field.Element).Invert(&p.z)
	x, y := new(field.Element).Multiply(&p.x, inverse), new(field.Element).Multiply(&p.y, inverse)
	out := y.Bytes()
	if x.IsNegative() == 1 {
		out[len(out)-1] |= 1 << 7
	}
	return out
}
