package adnl

import (
	"errors"
	"reflect"
	"strings"

	"github.com/xssnick/tonutils-go/tl"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// spoil changes a bit in the proofs of an answer, when that is switched on for its type.
func (s *Server) spoil(resp tl.Serializable) tl.Serializable {
	want := s.wrong.Load()
	if want == nil || *want == "" {
		return resp
	}
	t := reflect.TypeOf(resp)
	if t.Kind() != reflect.Struct || (*want != "*" && *want != t.Name()) {
		return resp
	}
	v := reflect.New(t).Elem()
	v.Set(reflect.ValueOf(resp))
	spoilStruct(v)
	return v.Interface()
}

// spoilStruct goes through the fields with proofs, and through the steps of a chain of proofs.
func spoilStruct(v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		name := v.Type().Field(i).Name
		if name == "Steps" {
			steps, ok := reflect.TypeAssert[[]any](f)
			if !ok {
				continue
			}
			for j := range steps {
				step := reflect.New(reflect.TypeOf(steps[j])).Elem()
				step.Set(reflect.ValueOf(steps[j]))
				spoilStruct(step)
				steps[j] = step.Interface()
			}
			continue
		}
		if strings.HasSuffix(name, "Proof") {
			spoilField(f)
		}
	}
}

func spoilField(f reflect.Value) {
	switch p := f.Interface().(type) {
	case []byte:
		c, err := cell.FromBOC(p)
		if err != nil {
			return
		}
		f.SetBytes(spoilProof(c).ToBOC())
	case *cell.Cell:
		if p != nil {
			f.Set(reflect.ValueOf(spoilProof(p)))
		}
	case []*cell.Cell:
		out := make([]*cell.Cell, len(p))
		for i := range p {
			out[i] = spoilProof(p[i])
		}
		f.Set(reflect.ValueOf(out))
	}
}

// spoilProof makes a well-formed Merkle proof of a cell that differs from the proven one in one bit.
func spoilProof(p *cell.Cell) *cell.Cell {
	body, err := p.PeekRef(0)
	if err != nil {
		return p
	}
	if body, err = flip(body); err != nil {
		return p
	}
	out, err := cell.CreateMerkleProof(body)
	if err != nil {
		return p
	}
	return out
}

// flip changes the last bit of an ordinary cell, as deep as ordinary cells go along the last references.
func flip(c *cell.Cell) (*cell.Cell, error) {
	if c.GetType() != cell.OrdinaryCellType {
		return nil, errors.New("not an ordinary cell")
	}
	s, err := c.BeginParse()
	if err != nil {
		return nil, err
	}
	n := s.BitsLeft()
	bits, err := s.LoadSlice(n)
	if err != nil {
		return nil, err
	}
	var refs []*cell.Cell
	deeper := false
	for s.RefsNum() > 0 {
		r, err := s.LoadRefCell()
		if err != nil {
			return nil, err
		}
		refs = append(refs, r)
	}
	for i := len(refs) - 1; i >= 0 && !deeper; i-- {
		if r, err := flip(refs[i]); err == nil {
			refs[i], deeper = r, true
		}
	}
	if !deeper {
		if n == 0 {
			return nil, errors.New("a cell without bits")
		}
		bits[(n-1)/8] ^= 1 << (7 - (n-1)%8)
	}
	b := cell.BeginCell()
	if err := b.StoreSlice(bits, n); err != nil {
		return nil, err
	}
	for _, r := range refs {
		if err := b.StoreRef(r); err != nil {
			return nil, err
		}
	}
	return b.EndCell(), nil
}
