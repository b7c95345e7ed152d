#include "run_report.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/core/atomic_file.hpp"
#include "bliss/core/error.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace bliss::inference {
namespace {

constexpr int k_fields_tag = 12;
/// A path in a reason need not be UTF-8.
constexpr auto k_replace = nlohmann::json::error_handler_t::replace;

/// Stages of a field, by the name that its seconds are told under.
constexpr std::pair<const char*, float FieldTimes::*> k_stages[] = {{"read_s", &FieldTimes::read_s},
                                                                    {"wait_s", &FieldTimes::wait_s},
                                                                    {"prepare_s", &FieldTimes::prepare_s},
                                                                    {"detect_s", &FieldTimes::detect_s},
                                                                    {"candidates_s", &FieldTimes::candidates_s},
                                                                    {"likelihood_s", &FieldTimes::likelihood_s},
                                                                    {"classify_s", &FieldTimes::classify_s},
                                                                    {"samples_s", &FieldTimes::samples_s},
                                                                    {"reconstruct_s", &FieldTimes::reconstruct_s},
                                                                    {"keep_s", &FieldTimes::keep_s},
                                                                    {"total_s", &FieldTimes::total_s}};
constexpr std::size_t k_stage_count = std::size(k_stages);

/// Sums over the fields of one rank, or of all.
struct Sums {
    std::int64_t fields = 0, failed = 0, candidates = 0;
    double seconds[k_stage_count] = {};
    double slowest_s = 0;
    double peak_memory_gb = 0;

    void add(const FieldTimes& field) {
        ++fields;
        failed += field.status != 0 ? 1 : 0;
        candidates += field.candidates;
        for (std::size_t k = 0; k < k_stage_count; ++k) seconds[k] += static_cast<double>(field.*k_stages[k].second);
        slowest_s = std::max(slowest_s, static_cast<double>(field.total_s));
    }
    void add(const Sums& other) {
        fields += other.fields;
        failed += other.failed;
        candidates += other.candidates;
        for (std::size_t k = 0; k < k_stage_count; ++k) seconds[k] += other.seconds[k];
        slowest_s = std::max(slowest_s, other.slowest_s);
        peak_memory_gb = std::max(peak_memory_gb, other.peak_memory_gb);
    }
};
static_assert(comm::Transferable<Sums>);

nlohmann::json to_json(const Sums& sums) {
    nlohmann::json out{{"fields", sums.fields},
                       {"failed", sums.failed},
                       {"candidates", sums.candidates},
                       {"slowest_field_s", sums.slowest_s},
                       {"peak_memory_gb", sums.peak_memory_gb}};
    for (std::size_t k = 0; k < k_stage_count; ++k) out[k_stages[k].first] = sums.seconds[k];
    return out;
}

void append_line(const FieldTimes& field, int rank, std::int64_t attempt, std::string& out) {
    nlohmann::ordered_json line{{"field", to_string(field.id)}, {"status", field.status}, {"candidates", field.candidates}};
    for (const auto& [name, seconds] : k_stages) {
        if (field.*seconds != 0) line[name] = field.*seconds;
    }
    line["rank"] = rank;
    line["attempt"] = attempt;
    out += line.dump() + '\n';
}

/// All ranks' lines, rank by rank; rank 0 takes what it is sent also where it cannot be written. @collective
void write_lines(const std::filesystem::path& path, const comm::Communicator& comm, const std::vector<FieldTimes>& mine,
                 std::int64_t attempt) {
    if (comm.rank() != 0) {
        comm.send(std::string(reinterpret_cast<const char*>(mine.data()), mine.size() * sizeof(FieldTimes)), 0, k_fields_tag);
        comm::agree_on(comm, [] {});
        return;
    }
    std::ofstream file{path, attempt > 1 ? std::ios::app : std::ios::trunc};
    for (int rank = 0; rank < comm.size(); ++rank) {
        std::vector<FieldTimes> fields = mine;
        if (rank > 0) {
            const std::string bytes = comm.receive_text(rank, k_fields_tag);
            fields.resize(bytes.size() / sizeof(FieldTimes));
            std::memcpy(fields.data(), bytes.data(), bytes.size());
        }
        std::string lines;
        for (const FieldTimes& field : fields) append_line(field, rank, attempt, lines);
        file << lines;
    }
    file.close();
    comm::agree_on(comm, [&] {
        if (!file) throw IoError(fmt::format("{}: cannot be written; check the disk's space and permissions", path.string()));
    });
}

/// What failed on all ranks, the first of each. @collective
nlohmann::json failures(const comm::Communicator& comm, const RankWork& work) {
    std::string mine;
    for (const auto& [id, reason] : work.failures()) {
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
void log_summary(const Sums& all, int ranks, double seconds, double gather_s) {
    if (all.fields == 0) return;
    const auto fields = static_cast<double>(all.fields);
    const double computed = all.seconds[k_stage_count - 1], waited = all.seconds[1];
    spdlog::info("{} field(s), {} of them failed, in {:.1f} s on {} rank(s): {:.3g} fields/s; the slowest took {:.2f} s", all.fields,
                 all.failed, seconds, ranks, fields / seconds, all.slowest_s);
    std::string stages;
    for (std::size_t k = 2; k + 1 < k_stage_count; ++k) {
        const std::string_view name = k_stages[k].first;
        if (all.seconds[k] > 0)
            stages += fmt::format("{}{} {:.2f}", stages.empty() ? "" : ", ", name.substr(0, name.size() - 2), all.seconds[k] / fields);
    }
    spdlog::info("seconds a field: {}; read ahead {:.2f}; the catalogue was written in {:.1f} s", stages, all.seconds[0] / fields,
                 gather_s);
    spdlog::info("ranks computed for {:.1f} s and waited for fields {:.1f} s ({:.1f} %); peak memory {:.2f} GB a rank", computed, waited,
                 100 * waited / std::max(computed + waited, 1e-9), all.peak_memory_gb);
}

}  // namespace

double peak_memory_gb() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_maxrss) / (1024 * 1024);
}

void write_report(const std::filesystem::path& folder, const comm::Communicator& comm, const RankWork& work, nlohmann::json of_run) {
    Sums mine;
    for (const FieldTimes& field : work.times()) mine.add(field);
    mine.seconds[1] = work.wait_s();
    mine.peak_memory_gb = peak_memory_gb();
    const std::vector<Sums> of_ranks = comm.all_gather(mine);
    Sums all;
    for (const Sums& of_rank : of_ranks) all.add(of_rank);
    if (comm.rank() == 0) log_summary(all, comm.size(), of_run.at("seconds"), of_run.at("gather_s"));
    write_lines(folder / "run-fields.jsonl", comm, work.times(), of_run.at("attempt"));
    of_run["failures"] = failures(comm, work);
    comm::agree_on(comm, [&] {
        if (comm.rank() != 0) return;
        of_run["all_ranks"] = to_json(all);
        for (const Sums& of_rank : of_ranks) of_run["per_rank"].push_back(to_json(of_rank));
        write_file(folder / "run-report.json", of_run.dump(2, ' ', false, k_replace) + '\n');
    });
}

}  // namespace bliss::inference
