#![no_std]
#![no_main]
use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::LruHashMap,
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use datapath_abi::flow::{FlowCounters, FlowKey};
#[btf_map]
static FLOWS: LruHashMap<FlowKey, FlowCounters, 262144> = LruHashMap::new();
#[xdp]
pub fn wan_guard(_ctx: XdpContext) -> u32 {
    let _ = FLOWS.get_ptr(FlowKey::default());
    xdp_action::XDP_PASS
}
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
