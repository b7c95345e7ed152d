#include "run_report.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/core/atomic_file.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <string_view>

namespace bliss::inference {
namespace {

/// A path in a reason need not be UTF-8.
constexpr auto k_replace = nlohmann::json::error_handler_t::replace;

/// Stages of a field, by the name that its seconds are told under.
struct Stage {
    std::string_view name;
    double FieldTimes::* seconds;
    bool computed = true;  ///< part of total_s
};
constexpr Stage k_stages[] = {
    {"read_s", &FieldTimes::read_s, false},  {"wait_s", &FieldTimes::wait_s, false},      {"prepare_s", &FieldTimes::prepare_s},
    {"detect_s", &FieldTimes::detect_s},     {"candidates_s", &FieldTimes::candidates_s}, {"likelihood_s", &FieldTimes::likelihood_s},
    {"classify_s", &FieldTimes::classify_s}, {"samples_s", &FieldTimes::samples_s},       {"reconstruct_s", &FieldTimes::reconstruct_s},
    {"keep_s", &FieldTimes::keep_s},         {"total_s", &FieldTimes::total_s, false}};

nlohmann::json to_json(const RunSums& sums, double seconds) {
    nlohmann::json out{{"fields", sums.fields},
                       {"failed", sums.failed},
                       {"candidates", sums.candidates},
                       {"fields_per_s", static_cast<double>(sums.fields) / seconds},
                       {"candidates_per_s", static_cast<double>(sums.candidates) / seconds},
                       {"slowest_field_s", sums.slowest_s},
                       {"idle_s", sums.idle_s},
                       {"peak_memory_gb", sums.peak_memory_gb}};
    for (const Stage& stage : k_stages) out[std::string{stage.name}] = sums.sums.*stage.seconds;
    return out;
}

/// What failed on all ranks. @collective
nlohmann::json gathered(const comm::Communicator& comm, const Failures& failures) {
    std::string mine;
    for (const auto& [id, reason] : failures) {
        mine += nlohmann::json{{"field", to_string(id)}, {"reason", reason}}.dump(-1, ' ', false, k_replace) + '\n';
    }
    const std::vector<char> all = comm.gather_v(std::vector<char>(mine.begin(), mine.end()), 0);
    nlohmann::json out = nlohmann::json::array();
    for (auto at = all.begin(); at != all.end();) {
        const auto end = std::find(at, all.end(), '\n');
        out.push_back(nlohmann::json::parse(at, end));
        at = end + 1;
    }
    return out;
}

/// The whole run in a few lines.
void log_summary(const RunSums& all, int ranks, double seconds, double gather_s) {
    if (all.fields == 0) return;
    const auto fields = static_cast<double>(all.fields);
    const FieldTimes& sums = all.sums;
    spdlog::info("{} field(s), {} of them failed, in {:.1f} s on {} rank(s): {:.3g} fields/s; the slowest took {:.2f} s", all.fields,
                 all.failed, seconds, ranks, fields / seconds, all.slowest_s);
    std::string stages;
    for (const Stage& stage : k_stages) {
        const double of_field = sums.*stage.seconds / fields;
        if (!stage.computed || of_field == 0) continue;
        stages += fmt::format("{}{} {:.2f}", stages.empty() ? "" : ", ", stage.name.substr(0, stage.name.size() - 2), of_field);
    }
    spdlog::info("seconds a field: {}; read ahead {:.2f}; the catalogue was written in {:.1f} s", stages, sums.read_s / fields, gather_s);
    spdlog::info(
        "ranks computed for {:.1f} s, waited for fields {:.1f} s ({:.1f} %), and at the end for the last one {:.1f} s; peak memory "
        "{:.2f} GB a rank",
        sums.total_s, sums.wait_s, 100 * sums.wait_s / std::max(sums.total_s + sums.wait_s, 1e-9), all.idle_s, all.peak_memory_gb);
}

}  // namespace

std::string line_of(const FieldTimes& field) {
    nlohmann::ordered_json line{{"field", to_string(field.id)}, {"status", field.status}, {"candidates", field.candidates}};
    for (const Stage& stage : k_stages) {
        if (field.*stage.seconds != 0) line[std::string{stage.name}] = field.*stage.seconds;
    }
    return line.dump();
}

void RunSums::add(const FieldTimes& field) {
    ++fields;
    failed += field.status != 0 ? 1 : 0;
    candidates += field.candidates;
    for (const Stage& stage : k_stages) sums.*stage.seconds += field.*stage.seconds;
    slowest_s = std::max(slowest_s, field.total_s);
}

void RunSums::add(const RunSums& other) {
    fields += other.fields;
    failed += other.failed;
    candidates += other.candidates;
    for (const Stage& stage : k_stages) sums.*stage.seconds += other.sums.*stage.seconds;
    idle_s += other.idle_s;
    slowest_s = std::max(slowest_s, other.slowest_s);
    peak_memory_gb = std::max(peak_memory_gb, other.peak_memory_gb);
}

double peak_memory_gb() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_maxrss) / (1024 * 1024);
}

void write_report(const std::filesystem::path& path, const comm::Communicator& comm, const RunSums& mine, const Failures& failures,
                  nlohmann::json of_run) {
    static_assert(comm::Transferable<RunSums>);
    const std::vector<RunSums> of_ranks = comm.all_gather(mine);
    const double seconds = of_run.at("seconds");
    RunSums all;
    for (const RunSums& of_rank : of_ranks) all.add(of_rank);
    if (comm.rank() == 0) log_summary(all, comm.size(), seconds, of_run.at("gather_s"));
    of_run["failures"] = gathered(comm, failures);
    comm::agree_on(comm, [&] {
        if (comm.rank() != 0) return;
        of_run["all_ranks"] = to_json(all, seconds);
        for (const RunSums& of_rank : of_ranks) of_run["per_rank"].push_back(to_json(of_rank, seconds));
        write_file(path, of_run.dump(2, ' ', false, k_replace) + '\n');
    });
}

}  // namespace bliss::inference
