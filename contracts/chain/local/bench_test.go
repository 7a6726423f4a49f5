package local

import (
	"crypto/ed25519"
	"crypto/sha256"
	"math/big"
	"testing"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/ton/wallet"
	"github.com/xssnick/tonutils-go/tvm/cell"
	"golang.org/x/sys/unix"

	"cocoon/contracts/chain/local/blocks"
)

// Targets: an empty pair of blocks in 3 ms, 8000 transactions per second in blocks.

func BenchmarkEmptyBlocks(b *testing.B) {
	c := newTest(b)
	for b.Loop() {
		step(b, c, 1)
	}
}

// payer is a version 3 wallet that sends four messages with every external one.
type payer struct {
	key   ed25519.PrivateKey
	init  *tlb.StateInit
	addr  *address.Address
	seqno uint32
}

func newPayer(tb testing.TB, n int) *payer {
	tb.Helper()
	seed := sha256.Sum256([]byte{byte(n), byte(n >> 8)})
	p := &payer{key: ed25519.NewKeyFromSeed(seed[:])}
	var err error
	if p.init, err = wallet.GetStateInit(public(p.key), wallet.V3R2, wallet.DefaultSubwallet); err != nil {
		tb.Fatal(err)
	}
	p.addr = p.init.CalcAddress(0)
	return p
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return ed25519.PublicKey(k[ed25519.SeedSize:]) }

// pay signs an external message with four transfers.
func (p *payer) pay(tb testing.TB, to func(int) *address.Address) *cell.Cell {
	tb.Helper()
	payload := cell.BeginCell().MustStoreUInt(wallet.DefaultSubwallet, 32).MustStoreUInt(1<<32-1, 32).MustStoreUInt(uint64(p.seqno), 32)
	for i := range 4 {
		inner, err := tlb.ToCell(&tlb.InternalMessage{IHRDisabled: true, DstAddr: to(i), Amount: tlb.MustFromTON("0.001"), Body: cell.BeginCell().EndCell()})
		if err != nil {
			tb.Fatal(err)
		}
		payload.MustStoreUInt(3, 8).MustStoreRef(inner)
	}
	body := cell.BeginCell().MustStoreSlice(payload.EndCell().Sign(p.key), 512).MustStoreBuilder(payload).EndCell()
	ext := &tlb.ExternalMessage{DstAddr: p.addr, Body: body}
	if p.seqno == 0 {
		ext.StateInit = p.init
	}
	p.seqno++
	c, err := tlb.ToCell(ext)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// BenchmarkTransactions reports transactions per second in blocks, five for every external message: wallets that pay
// each other. Signing and the mempool are not counted, block production is whole: execution, dictionaries, update,
// serialization.
func BenchmarkTransactions(b *testing.B) {
	c := newTest(b, func(o *Options) { o.MaxTransactions, o.MaxPerAccount = 1<<20, 1<<20 })
	payers := make([]*payer, 100)
	for i := range payers {
		payers[i] = newPayer(b, i)
		fund(b, c, payers[i].addr, tons(1000))
	}
	step(b, c, 1)
	count, used := 0, time.Duration(0)
	for b.Loop() {
		b.StopTimer()
		for i, p := range payers {
			for range 4 {
				e, err := parseExternal(p.pay(b, func(j int) *address.Address { return payers[(i+j+1)%len(payers)].addr }))
				if err != nil {
					b.Fatal(err)
				}
				e.since = c.head.Master.Header.Time
				c.pool.waiting = append(c.pool.waiting, e)
			}
		}
		b.StartTimer()
		before := cpuTime(b)
		step(b, c, 1)
		used += cpuTime(b) - before
		count += 5 * 4 * len(payers)
	}
	root, err := c.head.Shard.Root()
	if err != nil {
		b.Fatal(err)
	}
	if refs, _, err := blocks.Transactions(root); err != nil || len(refs) != 5*4*len(payers) {
		b.Fatalf("the last block has %d transactions, %v", len(refs), err)
	}
	b.ReportMetric(float64(count)/b.Elapsed().Seconds(), "tx/s")
	b.ReportMetric(float64(count)/used.Seconds(), "tx/cpu-s")
	if got := stateOf(b, c, payers[0].addr).Balance; got.Cmp(new(big.Int)) <= 0 {
		b.Fatalf("the payers are broke: %s", got)
	}
}

// cpuTime is what this process has used: on a shared machine it says more than the clock.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
