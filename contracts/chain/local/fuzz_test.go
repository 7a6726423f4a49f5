package local

import (
	"errors"
	"testing"

	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
)

// FuzzSend feeds BOCs as external messages: they are taken or refused, the chain goes on, and its money adds up (which
// every block checks).
func FuzzSend(f *testing.F) {
	c := newTest(f)
	msg, err := c.genesis.faucet.transfer(0, nil)
	if err == nil {
		f.Add(msg.ToBOC())
	}
	f.Add(anExternal(f, c.Faucet(), 1).ToBOC())
	f.Add(anExternal(f, someone(0, 3), 1).ToBOC())
	f.Add(anExternal(f, someone(-1, 3), 1).ToBOC())
	f.Add(cell.BeginCell().EndCell().ToBOC())
	f.Add([]byte("no cells at all"))
	f.Fuzz(func(t *testing.T, boc []byte) {
		msg, err := cell.FromBOC(boc)
		if err != nil {
			return
		}
		err = c.Send(t.Context(), msg)
		if err != nil && !errors.Is(err, chain.ErrMalformed) && !errors.Is(err, chain.ErrNotAccepted) && !errors.Is(err, chain.ErrBusy) {
			t.Errorf("got %v", err)
		}
		if err := c.SendExternal(msg); err == nil { // executed without being asked
			if err := c.Step(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
