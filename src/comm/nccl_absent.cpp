#include "bliss/comm/nccl.hpp"
#include "bliss/core/error.hpp"

// Of a program that was built without NCCL.

namespace bliss::comm {

struct NcclRanks::Handle {};

bool NcclRanks::built() { return false; }

std::string NcclRanks::identity(int) { return {}; }

NcclRanks::NcclRanks(const Communicator&, int) {
    throw ConfigError("this program was built without NCCL; build it where tools/bootstrap.sh --cuda, or the site, has it");
}

NcclRanks::~NcclRanks() = default;

void NcclRanks::begin_sum(std::int64_t*, std::size_t, void*) {}

double NcclRanks::wait() { return 0; }

}  // namespace bliss::comm
