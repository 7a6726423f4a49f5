package bind

import (
	"fmt"
	"slices"
)

// The operation codes (contracts.md sections 1.8, 3.5 and 4). The reference's come from its contracts; ours are the
// CRC-32 of "cocoon.<contract>.<name>".
const (
	OpExcesses                   Op = 0x2565934c
	OpPayout                     Op = 0xc59a7cd3
	OpDoNotProcess               Op = 0x9a1247c0
	OpSaveState                  Op = 0x53109c0f
	OpClientTopUp                Op = 0xf172e6c2
	OpClientChangeSecretAndTopUp Op = 0x8473b408
	OpClientRegister             Op = 0xc45f9f3b
	OpClientChangeSecret         Op = 0xa9357034
	OpClientIncreaseStake        Op = 0x6a1f6a60
	OpClientWithdraw             Op = 0xda068e78
	OpClientRequestRefund        Op = 0xfafa6cc1
	OpClientCharge               Op = 0xbb63ff93
	OpClientGrantRefund          Op = 0xefd711e1
	OpClientTopUpReopen          Op = 0x29111ceb
	OpWorkerPayout               Op = 0xa040ad28
	OpWorkerLastPayout           Op = 0xf5f26a36
	OpWorkerRegister             Op = 0x26ed7f65
	OpClientNote                 Op = 0x65448ff4
	OpNoteTopUp                  Op = 0x5cfc6b87
	OpNoteRegister               Op = 0xa35cb580
	OpNoteRefundGranted          Op = 0xc68ebc7b
	OpNoteRefundForce            Op = 0xf4c354c9
	OpWorkerNote                 Op = 0x4d725d2c
	OpNotePayout                 Op = 0x08e7d036
	OpProxyIncreaseStake         Op = 0x9713f187
	OpProxyPayout                Op = 0x7610e6eb
	OpProxyClose                 Op = 0xb51d5a01
	OpProxyCloseRequest          Op = 0x636a4391
	OpProxyCloseComplete         Op = 0xe511abc7
	OpWalletSend                 Op = 0x9c69f376
	OpRootAddWorkerType          Op = 0xe34b1c60
	OpRootDelWorkerType          Op = 0x8d94a79a
	OpRootAddProxyType           Op = 0x71860e80
	OpRootDelProxyType           Op = 0x3c41d0b2
	OpRootAddModelType           Op = 0xc146134d
	OpRootDelModelType           Op = 0x92b11c18
	OpRootRegisterProxy          Op = 0x927c7cb5
	OpRootUnregisterProxy        Op = 0x6d49eaf2
	OpRootUpdateProxy            Op = 0x9c7924ba
	OpRootChangePrice            Op = 0xc52ed8d4
	OpRootChangeParams           Op = 0x022fa189
	OpRootUpgradeContracts       Op = 0xa2370f61
	OpRootUpgrade                Op = 0x11aefd51
	OpRootUpgradeFull            Op = 0x4f7c5789
	OpRootReset                  Op = 0x563c1d96
	OpRootChangeOwner            Op = 0xc4a1ae54
	OpRootChangeKeyManager       Op = 0xb01c0fe9
	OpRootAddPublicKeySigned     Op = 0x9e0e1821
	OpRootAddPublicKey           Op = 0x6e5a646a
	OpRootChangeParamsFull       Op = 0x9f1e69dc
	OpProxyCommit                Op = 0xb6c257e5
	OpProxySweepSurplus          Op = 0x710008b9
	OpWorkerUnpaid               Op = 0xd5746d9f
	OpWorkerRetry                Op = 0x0536a95b
	OpWorkerSweep                Op = 0xa3fdea8a
	OpClientUnpaid               Op = 0x01709745
	OpClientClaim                Op = 0x33751efc
	OpClientSweep                Op = 0x1c37d2e9

	// OpText precedes a one-letter command.
	OpText Op = 0
)

// Contract is whom a message goes to.
type Contract uint8

// Contracts, and among them the two families of payloads that a proxy reads.
const (
	ContractAny Contract = iota
	ContractRoot
	ContractProxy
	ContractClient
	ContractWorker
	ContractWallet
	ContractClientPayload
	ContractWorkerPayload
	ContractGovernor
	ContractAgreement
	ContractFarm
)

// String is the contract's name.
func (c Contract) String() string {
	names := [...]string{"any contract", "root", "proxy", "client", "worker", "wallet", "client payload", "worker payload", "governor", "agreement", "farm"}
	if int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("contract %d", uint8(c))
}

// Operation is a row of the table that bindings, decoders and tests share.
type Operation struct {
	Op       Op
	Name     string // as in the vectors' table
	Contract Contract
	New      func() Message // nil: declared by the reference and never implemented, or a part of another message
}

// Operations is the table of all operations.
func Operations() []Operation {
	return slices.Concat(networkOperations(), governorOperations(), agreementOperations(), farmOperations())
}

// networkOperations are those of the contracts that every network has.
func networkOperations() []Operation {
	return []Operation{
		{OpExcesses, "excesses", ContractAny, func() Message { return new(Excesses) }},
		{OpPayout, "payout", ContractAny, func() Message { return new(Payout) }},
		{OpDoNotProcess, "do_not_process", ContractAny, func() Message { return new(SaveState) }},
		{OpSaveState, "proxy_save_state", ContractAny, nil},
		{OpClientTopUp, "ext_client_top_up", ContractClient, func() Message { return new(ClientTopUp) }},
		{OpClientChangeSecretAndTopUp, "owner_client_change_secret_hash_and_top_up", ContractClient, func() Message { return new(ClientChangeSecretAndTopUp) }},
		{OpClientRegister, "owner_client_register", ContractClient, func() Message { return new(ClientRegister) }},
		{OpClientChangeSecret, "owner_client_change_secret_hash", ContractClient, func() Message { return new(ClientChangeSecret) }},
		{OpClientIncreaseStake, "owner_client_increase_stake", ContractClient, func() Message { return new(ClientIncreaseStake) }},
		{OpClientWithdraw, "owner_client_withdraw", ContractClient, func() Message { return new(ClientWithdraw) }},
		{OpClientRequestRefund, "owner_client_request_refund", ContractClient, func() Message { return new(ClientRequestRefund) }},
		{OpClientCharge, "ext_client_charge_signed", ContractClient, func() Message { return new(ClientCharge) }},
		{OpClientGrantRefund, "ext_client_grant_refund_signed", ContractClient, func() Message { return new(ClientGrantRefund) }},
		{OpClientTopUpReopen, "owner_client_top_up_reopen", ContractClient, nil},
		{OpWorkerPayout, "ext_worker_payout_request_signed", ContractWorker, func() Message { return new(WorkerPayout) }},
		{OpWorkerLastPayout, "ext_worker_last_payout_request_signed", ContractWorker, func() Message { return new(WorkerLastPayout) }},
		{OpWorkerRegister, "owner_worker_register", ContractWorker, func() Message { return new(WorkerRegister) }},
		{OpClientNote, "client_proxy_request", ContractProxy, func() Message { return new(ClientNote) }},
		{OpNoteTopUp, "client_proxy_top_up", ContractClientPayload, func() Message { return new(NoteTopUp) }},
		{OpNoteRegister, "client_proxy_register", ContractClientPayload, func() Message { return new(NoteRegister) }},
		{OpNoteRefundGranted, "client_proxy_refund_granted", ContractClientPayload, func() Message { return new(NoteRefundGranted) }},
		{OpNoteRefundForce, "client_proxy_refund_force", ContractClientPayload, func() Message { return new(NoteRefundForce) }},
		{OpWorkerNote, "worker_proxy_request", ContractProxy, func() Message { return new(WorkerNote) }},
		{OpNotePayout, "worker_proxy_payout_request", ContractWorkerPayload, func() Message { return new(NotePayout) }},
		{OpProxyIncreaseStake, "ext_proxy_increase_stake", ContractProxy, func() Message { return new(ProxyIncreaseStake) }},
		{OpProxyPayout, "ext_proxy_payout_request", ContractProxy, func() Message { return new(ProxyPayout) }},
		{OpProxyClose, "owner_proxy_close", ContractProxy, func() Message { return new(ProxyClose) }},
		{OpProxyCloseRequest, "ext_proxy_close_request_signed", ContractProxy, func() Message { return new(ProxyCloseRequest) }},
		{OpProxyCloseComplete, "ext_proxy_close_complete_request_signed", ContractProxy, func() Message { return new(ProxyCloseComplete) }},
		{OpWalletSend, "owner_wallet_send_message", ContractWallet, func() Message { return new(WalletSend) }},
		{OpRootAddWorkerType, "root_add_worker_type", ContractRoot, func() Message { return &RootHash{Change: OpRootAddWorkerType} }},
		{OpRootDelWorkerType, "root_del_worker_type", ContractRoot, func() Message { return &RootHash{Change: OpRootDelWorkerType} }},
		{OpRootAddProxyType, "root_add_proxy_type", ContractRoot, func() Message { return &RootHash{Change: OpRootAddProxyType} }},
		{OpRootDelProxyType, "root_del_proxy_type", ContractRoot, func() Message { return &RootHash{Change: OpRootDelProxyType} }},
		{OpRootAddModelType, "root_add_model_type", ContractRoot, func() Message { return &RootHash{Change: OpRootAddModelType} }},
		{OpRootDelModelType, "root_del_model_type", ContractRoot, func() Message { return &RootHash{Change: OpRootDelModelType} }},
		{OpRootRegisterProxy, "root_register_proxy", ContractRoot, func() Message { return new(RootRegisterProxy) }},
		{OpRootUnregisterProxy, "root_unregister_proxy", ContractRoot, func() Message { return new(RootUnregisterProxy) }},
		{OpRootUpdateProxy, "root_update_proxy", ContractRoot, func() Message { return new(RootUpdateProxy) }},
		{OpRootChangePrice, "root_change_price", ContractRoot, func() Message { return new(RootChangePrice) }},
		{OpRootChangeParams, "root_change_params", ContractRoot, func() Message { return new(RootChangeParams) }},
		{OpRootUpgradeContracts, "root_upgrade_contracts", ContractRoot, func() Message { return new(RootUpgradeContracts) }},
		{OpRootUpgrade, "root_upgrade", ContractRoot, func() Message { return new(RootUpgrade) }},
		{OpRootUpgradeFull, "root_upgrade_full", ContractRoot, func() Message { return new(RootUpgradeFull) }},
		{OpRootReset, "root_reset", ContractRoot, func() Message { return new(RootReset) }},
		{OpRootChangeOwner, "root_change_owner", ContractRoot, func() Message { return new(RootChangeOwner) }},
		{OpRootChangeKeyManager, "root_change_key_manager", ContractRoot, func() Message { return new(RootChangeKeyManager) }},
		{OpRootAddPublicKeySigned, "root_add_public_key_signed", ContractRoot, func() Message { return new(RootAddPublicKeySigned) }},
		{OpRootAddPublicKey, "root_add_public_key", ContractRoot, func() Message { return new(RootAddPublicKey) }},
		{OpRootChangeParamsFull, "root_change_params_full", ContractRoot, nil},
		{OpProxyCommit, "proxy_commit", ContractProxy, func() Message { return new(ProxyCommit) }},
		{OpProxySweepSurplus, "proxy_sweep_surplus", ContractProxy, func() Message { return new(ProxySweepSurplus) }},
		{OpWorkerUnpaid, "worker_unpaid", ContractWorker, func() Message { return new(WorkerUnpaid) }},
		{OpWorkerRetry, "worker_retry", ContractWorker, func() Message { return new(WorkerRetry) }},
		{OpWorkerSweep, "worker_sweep", ContractWorker, func() Message { return new(WorkerSweep) }},
		{OpClientUnpaid, "client_unpaid", ContractClient, func() Message { return new(ClientUnpaid) }},
		{OpClientClaim, "client_claim", ContractClient, func() Message { return new(ClientClaim) }},
		{OpClientSweep, "client_sweep", ContractClient, func() Message { return new(ClientSweep) }},
		{OpText, "text", ContractProxy, func() Message { return new(Text) }},
	}
}
