package blocks

import (
	"errors"
	"fmt"

	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
)

// Library packs shared_lib_descr$00: a public library and its one publisher.
func Library(lib *cell.Cell, publisher chain.Hash) (*cell.Cell, error) {
	key, err := pack().hash(publisher).cell()
	if err != nil {
		return nil, err
	}
	who := cell.NewDict(256)
	if err := who.Set(key, cell.BeginCell().EndCell()); err != nil {
		return nil, fmt.Errorf("packing library: %w", err)
	}
	return pack().uint(0, 2).ref(lib).inline(who.AsCell()).named("library")
}

// Libraries finds public libraries by hash in a masterchain state, nil for one that is not there, and proves it.
func Libraries(state *cell.Cell, hashes []chain.Hash) (proof *cell.Cell, found []*cell.Cell, err error) {
	proof, err = prove("libraries", state, func(r *cell.Cell) error {
		st, err := ParseState(r)
		if err != nil {
			return err
		}
		for _, h := range hashes {
			lib, err := findLibrary(st.Libraries, h)
			if err != nil {
				return err
			}
			found = append(found, lib)
		}
		return nil
	})
	for i, lib := range found {
		if lib != nil {
			found[i] = lib.WithoutTrace()
		}
	}
	return proof, found, err
}

func findLibrary(root *cell.Cell, h chain.Hash) (*cell.Cell, error) {
	if root == nil {
		return nil, nil
	}
	key, err := pack().hash(h).cell()
	if err != nil {
		return nil, err
	}
	v, err := root.AsDict(256).LoadValue(key)
	if errors.Is(err, cell.ErrNoSuchKeyInDict) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if _, err := v.LoadUInt(2); err != nil {
		return nil, err
	}
	return v.LoadRefCell()
}
