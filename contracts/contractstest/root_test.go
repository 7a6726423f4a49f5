package contractstest_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/code"
	"cocoon/contracts/contractstest"
)

// registry is a deployed root and what it should hold.
type registry struct {
	*contractstest.Chain
	t     testing.TB
	owner *address.Address
	at    bind.Instance
	want  bind.RootStorage
}

func newRegistry(tb testing.TB, structVersion uint8) *registry {
	tb.Helper()
	c := newChain(tb, 12)
	r := &registry{Chain: c, t: tb, owner: c.Actor("owner")}
	c.Actor("stranger")
	params := ourParams()
	params.StructVersion = structVersion
	r.want = bind.RootStorage{Owner: r.owner, Version: 1, Params: params}
	if structVersion >= 4 {
		r.want.KeyManager = &bind.KeyManager{PublicKey: contractstest.PublicKeyOf(contractstest.KeyOf("key manager")), Addr: "1.2.3.4:5"}
	}
	if structVersion >= 5 {
		r.want.Verified = &bind.Verified{Workers: []bind.Hash{{7}}}
	}
	data, err := r.want.Cell()
	r.do(err)
	at, err := bind.Address(code.Root(), data)
	r.do(err)
	r.at = bind.Instance{Code: code.Root(), Data: data, Address: at}
	c.Name(at, "root")
	r.do(c.Send(contractstest.Message{From: r.owner, To: at, Value: ton, NoBounce: true, Init: &r.at}))
	return r
}

func (r *registry) do(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// tell sends a message and expects an exit and the root's storage to be what want holds.
func (r *registry) tell(from *address.Address, exit int, m bind.Message) {
	r.t.Helper()
	body, err := bind.Encode(m)
	r.do(err)
	held := r.Balance(from)
	r.do(r.Send(message(from, r.at.Address, ton/5, body)))
	r.do(r.Check())
	if _, err := r.Find(contractstest.Match{To: "root", Exit: &exit}); err != nil {
		r.t.Error(err)
	}
	if lost := held + ton/5 - r.Balance(from); lost > ton/50 {
		r.t.Errorf("%s cost %d\n%s", m.Op(), lost, r.Tree())
	}
	got, err := bind.ParseRoot(r.Data(r.at.Address))
	r.do(err)
	r.same(got)
}

// same compares the cells: they hold everything, codes included.
func (r *registry) same(got bind.RootStorage) {
	r.t.Helper()
	want, err := r.want.Cell()
	r.do(err)
	is, err := got.Cell()
	r.do(err)
	if want.HashKey() != is.HashKey() {
		r.t.Errorf("root is %+v\nwant %+v", got, r.want)
	}
}

func (r *registry) valid(method string, h bind.Hash) bool {
	r.t.Helper()
	out, err := r.Get(r.at.Address, method, h.Big())
	r.do(err)
	ok, err := bind.ParseTruth(method, out)
	r.do(err)
	return ok
}

// TestRootHashes: the three lists change as told, twice the same is no error, and every change counts.
func TestRootHashes(t *testing.T) {
	r := newRegistry(t, 4)
	h := bind.Hash{1, 2, 3}
	for _, list := range []struct {
		add, del bind.Op
		method   string
		want     *[]bind.Hash
	}{
		{bind.OpRootAddWorkerType, bind.OpRootDelWorkerType, "worker_hash_is_valid", &r.want.WorkerHashes},
		{bind.OpRootAddProxyType, bind.OpRootDelProxyType, "proxy_hash_is_valid", &r.want.ProxyHashes},
		{bind.OpRootAddModelType, bind.OpRootDelModelType, "model_hash_is_valid", &r.want.ModelHashes},
	} {
		for range 2 {
			*list.want = []bind.Hash{h}
			r.want.Version++
			r.tell(r.owner, 0, &bind.RootHash{Change: list.add, QueryID: 1, Hash: h})
			same(t, list.method, r.valid(list.method, h), true)
			same(t, list.method+" of another", r.valid(list.method, bind.Hash{4}), false)
		}
		r.tell(r.Actor("stranger"), 1010, &bind.RootHash{Change: list.del, QueryID: 1, Hash: h})
		for range 2 {
			*list.want = nil
			r.want.Version++
			r.tell(r.owner, 0, &bind.RootHash{Change: list.del, QueryID: 1, Hash: h})
			same(t, list.method, r.valid(list.method, h), false)
		}
	}
}

// TestRootProxies: proxies get the next number, keep their text, and an unknown number is refused.
func TestRootProxies(t *testing.T) {
	r := newRegistry(t, 4)
	long := bind.NetAddr("worker.example.org:5222 client.example.org:8888")
	r.want.Version, r.want.LastSeqno, r.want.Proxies = 2, 1, []bind.RegisteredProxy{{Seqno: 1, Addr: "1.2.3.4:5"}}
	r.tell(r.owner, 0, &bind.RootRegisterProxy{QueryID: 1, Addr: "1.2.3.4:5"})
	r.want.Version, r.want.LastSeqno, r.want.Proxies = 3, 2, append(r.want.Proxies, bind.RegisteredProxy{Seqno: 2, Addr: long})
	r.tell(r.owner, 0, &bind.RootRegisterProxy{QueryID: 2, Addr: long})
	r.want.Version, r.want.Proxies = 4, []bind.RegisteredProxy{{Seqno: 1, Addr: long}, {Seqno: 2, Addr: long}}
	r.tell(r.owner, 0, &bind.RootUpdateProxy{QueryID: 3, Seqno: 1, Addr: long})
	r.tell(r.owner, 2000, &bind.RootUpdateProxy{QueryID: 3, Seqno: 3, Addr: long})
	r.tell(r.owner, 2000, &bind.RootUnregisterProxy{QueryID: 3, Seqno: 3})
	r.want.Version, r.want.Proxies = 5, r.want.Proxies[1:]
	r.tell(r.owner, 0, &bind.RootUnregisterProxy{QueryID: 3, Seqno: 1})
	out, err := r.Get(r.at.Address, "last_proxy_seqno")
	r.do(err)
	last, err := bind.ParseNumber("last_proxy_seqno", out)
	r.do(err)
	same(t, "last number", last, 2)
}

// TestRootParams: every change of parameters counts up their version too.
func TestRootParams(t *testing.T) {
	r := newRegistry(t, 4)
	changed := func(edit func(p *bind.Params)) {
		r.want.Version++
		r.want.Params.ParamsVersion++
		edit(&r.want.Params)
	}
	changed(func(p *bind.Params) { p.PricePerToken, p.WorkerFee = 20, 19 })
	r.tell(r.owner, 0, &bind.RootChangePrice{QueryID: 1, PricePerToken: 20, WorkerFee: 19})
	changed(func(p *bind.Params) {
		p.PricePerToken, p.WorkerFee, p.ProxyDelay, p.ClientDelay, p.MinProxyStake, p.MinClientStake = 5, 4, 3, 2, 1, 9
	})
	r.tell(r.owner, 0, &bind.RootChangeParams{QueryID: 1, PricePerToken: 5, WorkerFee: 4, ProxyDelay: 3, ClientDelay: 2, MinProxyStake: 1, MinClientStake: 9})
	changed(func(p *bind.Params) { p.Proxy, p.Worker, p.Client = code.Root(), code.Wallet(), code.Proxy() })
	r.tell(r.owner, 0, &bind.RootUpgradeContracts{QueryID: 1, Proxy: code.Root(), Worker: code.Wallet(), Client: code.Proxy()})
	r.tell(r.owner, 1004, &bind.RootChangePrice{QueryID: 1, PricePerToken: 5, WorkerFee: 6})
	r.tell(r.Actor("stranger"), 1010, &bind.RootChangePrice{QueryID: 1, PricePerToken: 5, WorkerFee: 4})

	out, err := r.Get(r.at.Address, "get_cocoon_data")
	r.do(err)
	data, err := bind.ParseRootData(out)
	r.do(err)
	compare(t, bind.RootData{Version: 4, ParamsVersion: 4, UniqueID: 12345, IsTest: true, PricePerToken: 5, WorkerFee: 4, MinProxyStake: 1, MinClientStake: 9, Owner: r.owner}, data)
	out, err = r.Get(r.at.Address, "get_cur_params")
	r.do(err)
	params, err := bind.ParseRootParams(out)
	r.do(err)
	compare(t, bind.RootParams{
		ParamsVersion: 4, UniqueID: 12345, IsTest: true, PricePerToken: 5, WorkerFee: 4, CachedMultiplier: 10000, ReasoningMultiplier: 10000,
		ProxyDelay: 3, ClientDelay: 2, MinProxyStake: 1, MinClientStake: 9,
		ProxyCode: bind.Hash(code.Root().Hash()), WorkerCode: bind.Hash(code.Wallet().Hash()), ClientCode: bind.Hash(code.Proxy().Hash()),
	}, params)
}

// TestRootOwner: the owner hands over, resets and replaces the code; the new owner is the only one.
func TestRootOwner(t *testing.T) {
	r := newRegistry(t, 4)
	heir := r.Actor("heir")
	r.want.Version++
	r.want.Owner = heir
	r.tell(r.owner, 0, &bind.RootChangeOwner{QueryID: 1, Owner: heir})
	r.tell(r.owner, 1010, &bind.RootReset{QueryID: 1})
	r.want.Version, r.want.LastSeqno, r.want.Proxies = 3, 1, []bind.RegisteredProxy{{Seqno: 1, Addr: "1.2.3.4:5"}}
	r.tell(heir, 0, &bind.RootRegisterProxy{QueryID: 1, Addr: "1.2.3.4:5"})
	r.want.Version, r.want.WorkerHashes = 4, []bind.Hash{{9}}
	r.tell(heir, 0, &bind.RootHash{Change: bind.OpRootAddWorkerType, Hash: bind.Hash{9}})
	r.want.Version, r.want.WorkerHashes, r.want.Proxies = 5, nil, nil
	r.tell(heir, 0, &bind.RootReset{QueryID: 1})
	r.tell(heir, 0, &bind.RootUpgrade{QueryID: 1, Code: code.Wallet()})
	same(t, "code", r.Code(r.at.Address).HashKey(), code.Wallet().HashKey())

	r = newRegistry(t, 4)
	next := r.want
	next.Version = 77
	data, err := next.Cell()
	r.do(err)
	r.want = next
	r.tell(r.owner, 0, &bind.RootUpgradeFull{QueryID: 1, Data: data, Code: code.Root()})
	r.do(r.Send(message(r.owner, r.at.Address, ton, head(bind.OpRootChangeParamsFull, 1).EndCell())))
	same(t, "exit of what was never implemented", r.Log[0].Exit, 1012)
}

// TestRootKeys: the key manager's keys come from the owner or by its signature; expired ones are forgotten.
func TestRootKeys(t *testing.T) {
	for _, version := range []uint8{4, 5} {
		r := newRegistry(t, version)
		key := bind.ManagedKey{Key: bind.Hash{5}, Type: 2, ExpireAt: r.Now + 100}
		r.want.Version++
		r.want.KeyManager.Keys = []bind.ManagedKey{key}
		r.tell(r.owner, 0, &bind.RootAddPublicKey{QueryID: 1, Key: key})
		same(t, "key", r.valid("public_key_is_valid", key.Key), true)
		later := bind.ManagedKey{Key: bind.Hash{6}, Type: 1, ExpireAt: r.Now + 1000}
		signed, err := bind.Sign(contractstest.KeyOf("key manager"), 8, r.Actor("stranger"), &bind.KeyPayload{QueryID: 8, Key: later})
		r.do(err)
		r.Now += 101
		same(t, "expired key", r.valid("public_key_is_valid", key.Key), false)
		r.want.Version++
		r.want.KeyManager.Keys = []bind.ManagedKey{later}
		r.tell(r.Actor("stranger"), 0, &bind.RootAddPublicKeySigned{Signed: signed})
		signed.Signature[0] ^= 1
		r.tell(r.Actor("stranger"), 1007, &bind.RootAddPublicKeySigned{Signed: signed})
		signed.Signature[0] ^= 1
		signed.QueryID++
		r.tell(r.Actor("stranger"), 1005, &bind.RootAddPublicKeySigned{Signed: signed})
		r.want.Version++
		r.want.KeyManager.PublicKey, r.want.KeyManager.ImageHash, r.want.KeyManager.Addr = bind.Hash{}, bind.Hash{8}, "5.6.7.8:9"
		r.tell(r.owner, 0, &bind.RootChangeKeyManager{QueryID: 1, ImageHash: bind.Hash{8}, Addr: "5.6.7.8:9"})
		signed.QueryID--
		r.tell(r.Actor("stranger"), 1007, &bind.RootAddPublicKeySigned{Signed: signed})
	}
	r := newRegistry(t, 3)
	r.tell(r.owner, 1012, &bind.RootAddPublicKey{QueryID: 1, Key: bind.ManagedKey{}})
	r.tell(r.owner, 1012, &bind.RootChangeKeyManager{QueryID: 1, Addr: "5.6.7.8:9"})
	same(t, "key of a root without key manager", r.valid("public_key_is_valid", bind.Hash{5}), false)
	r.want.Version++
	r.want.ModelHashes = []bind.Hash{{3}}
	r.tell(r.owner, 0, &bind.RootHash{Change: bind.OpRootAddModelType, Hash: bind.Hash{3}})
}

// TestRootRefusals: messages that are too poor, too short or malformed change nothing.
func TestRootRefusals(t *testing.T) {
	r := newRegistry(t, 4)
	before := r.Data(r.at.Address).HashKey()
	register := func(addr *cell.Builder) *cell.Cell {
		return head(bind.OpRootRegisterProxy, 1).MustStoreBuilder(addr).EndCell()
	}
	for name, c := range map[string]struct {
		value bind.Nano
		exit  int
		body  *cell.Cell
	}{
		"too little":        {ton/10 - 1, 1003, head(bind.OpRootReset, 1).EndCell()},
		"left over":         {ton, 9, head(bind.OpRootReset, 1).MustStoreUInt(1, 1).EndCell()},
		"no query id":       {ton, 9, cell.BeginCell().MustStoreUInt(uint64(bind.OpRootReset), 32).EndCell()},
		"unknown":           {ton, 1012, head(0x12345678, 1).EndCell()},
		"address of a kind": {ton, 1004, register(cell.BeginCell().MustStoreUInt(1, 1).MustStoreUInt(0, 7))},
		"address too short": {ton, 1004, register(cell.BeginCell().MustStoreUInt(2, 8).MustStoreUInt(1, 8))},
		"address too long":  {ton, 1004, register(cell.BeginCell().MustStoreUInt(0, 8).MustStoreUInt(1, 8))},
		"address with ref":  {ton, 1004, register(cell.BeginCell().MustStoreUInt(0, 8).MustStoreRef(cell.BeginCell().EndCell()))},
		"log":               {ton, 0, cell.BeginCell().MustStoreUInt(uint64(bind.OpDoNotProcess), 32).EndCell()},
		"empty":             {ton, 0, cell.BeginCell().EndCell()},
	} {
		t.Run(name, func(t *testing.T) {
			if err := r.Send(message(r.owner, r.at.Address, c.value, c.body)); err != nil {
				t.Fatal(err)
			}
			same(t, "exit", r.Log[0].Exit, c.exit)
			if r.Data(r.at.Address).HashKey() != before {
				t.Errorf("the root changed:\n%s", r.Tree())
			}
		})
	}
}

// TestRootNobodyElse: no message of a stranger changes the root, whatever it holds.
func TestRootNobodyElse(t *testing.T) {
	r := newRegistry(t, 4)
	before := r.Data(r.at.Address).HashKey()
	rng := rand.New(rand.NewPCG(1, 1))
	ops := bind.Operations()
	for range 500 {
		b := head(ops[rng.IntN(len(ops))].Op, rng.Uint64())
		for range rng.IntN(13) {
			b.MustStoreUInt(rng.Uint64(), 64)
		}
		for range rng.IntN(4) {
			b.MustStoreRef(cell.BeginCell().MustStoreUInt(rng.Uint64(), 64).EndCell())
		}
		if err := r.Send(message(r.Actor("stranger"), r.at.Address, ton, b.EndCell())); err != nil {
			t.Fatal(err)
		}
		if r.Data(r.at.Address).HashKey() != before {
			t.Fatalf("a stranger changed the root:\n%s", r.Tree())
		}
	}
}
