#include "bliss/encoder/precision.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/core/error.hpp"

#include <ATen/cpu/Utils.h>

namespace bliss::encoder {
namespace {

/// Whether this processor multiplies bfloat16 in hardware (AVX-512 BF16 or AMX).
bool processor_has_bfloat16() {
    const auto capabilities = at::cpu::get_cpu_capabilities();
    const auto has = [&](const char* name) {
        const auto found = capabilities.find(name);
        return found != capabilities.end() && found->second.isBool() && found->second.toBool();
    };
    return has("avx512_bf16") || has("amx_bf16");
}

}  // namespace

void describe_precision(ConfigVisitor& visitor, Precision& precision) {
    visitor.choice("precision", precision, "arithmetic of the convolutions; auto: bfloat16 where every rank's processor or GPU has it",
                   {Choice<Precision>{"auto", Precision::automatic}, Choice<Precision>{"float32", Precision::float32},
                    Choice<Precision>{"bfloat16", Precision::bfloat16}});
}

Precision choose_precision(Precision asked, const comm::Communicator& comm, c10::Device device) {
    const bool able = device.is_cuda() || processor_has_bfloat16();
    comm::agree_on(comm, [&] {
        if (asked != Precision::bfloat16 || able) return;
        throw ConfigError("precision = \"bfloat16\": this processor does not compute it; use \"float32\" or \"auto\"");
    });
    if (asked != Precision::automatic) return asked;
    return comm.all_reduce_min(std::int64_t{able}) == 1 ? Precision::bfloat16 : Precision::float32;
}

}  // namespace bliss::encoder
