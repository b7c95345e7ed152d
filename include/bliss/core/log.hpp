#pragma once

#include <spdlog/spdlog.h>

#include <string_view>

/// Logging goes through spdlog's default logger (spdlog::info, warn, error): to standard error, so that standard output
/// stays free for tables and JSON.
namespace bliss {

/// What the log shows.
enum class Verbosity { quiet, normal, debug };

/// Sets up the log of this process. Rank 0 speaks at the verbosity asked for, other ranks only warn, and say their rank.
void start_log(int rank, int ranks, Verbosity verbosity);

}  // namespace bliss
