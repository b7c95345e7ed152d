#pragma once

#include "bliss/core/error.hpp"

#include <string>
#include <string_view>

namespace bliss::detail {
[[noreturn]] void contract_violated(std::string_view kind, std::string_view condition, std::string_view message,
                                    std::string_view file, int line);
}

/// Programmer errors: checked in builds with BLISS_CONTRACTS (debug, asan), free in release.
#ifdef BLISS_CONTRACTS
#    define BLISS_CONTRACT_(kind, condition, message) \
        ((condition) ? void(0) : ::bliss::detail::contract_violated(kind, #condition, message, __FILE__, __LINE__))
#else
#    define BLISS_CONTRACT_(kind, condition, message) (void(sizeof(!(condition))))
#endif

/// What a caller must grant.
#define BLISS_EXPECT(condition, message) BLISS_CONTRACT_("precondition", condition, message)
/// What a function promises.
#define BLISS_ENSURE(condition, message) BLISS_CONTRACT_("postcondition", condition, message)
