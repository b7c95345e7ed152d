#include "bliss/inference/run.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/core/atomic_file.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/folder_lock.hpp"
#include "bliss/core/hash.hpp"
#include "bliss/core/version.hpp"
#include "bliss/inference/field.hpp"
#include "bliss/inference/field_record.hpp"
#include "bliss/inference/fields.hpp"
#include "bliss/inference/gather.hpp"
#include "rank_work.hpp"
#include "run_report.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <optional>

namespace bliss::inference {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// The output folder exists and takes files. A run must not find out at its end that it cannot write.
void prepare_folder(const fs::path& folder) {
    create_output_folder(folder);
    const fs::path probe = folder / ".writable";
    if (!std::ofstream{probe}) {
        throw IoError(fmt::format("{}: the output folder cannot be written to; name another with --output", folder.string()));
    }
    std::error_code status;
    fs::remove(probe, status);
}

struct LoadedModel {
    encoder::Model model;
    std::string sha256;
};

/// The model with the SHA256 of the very bytes it was read from. A training replaces its model file from time to time.
LoadedModel load(const fs::path& path) {
    const std::string before = sha256_of_file(path);
    LoadedModel loaded{encoder::load_model(path), sha256_of_file(path)};
    if (loaded.sha256 != before) throw DataError(fmt::format("{}: was replaced while it was read; run again", path.string()));
    return loaded;
}

/// The model, the same on all ranks and of the survey's band. @collective
LoadedModel load_on_all_ranks(const fs::path& path, const SurveyConfig& survey, const comm::Communicator& comm) {
    std::optional<LoadedModel> loaded;
    comm::agree_on(comm, [&] { loaded.emplace(load(path)); });
    std::vector<char> of_root(loaded->sha256.begin(), loaded->sha256.end());
    comm.broadcast(of_root);
    comm::agree_on(comm, [&] {
        if (!std::equal(of_root.begin(), of_root.end(), loaded->sha256.begin(), loaded->sha256.end())) {
            throw DataError(fmt::format("{}: ranks read different files under this name; was it replaced meanwhile?", path.string()));
        }
        const std::string& band = loaded->model.config.bands.front();
        if (survey.kind == SurveyKind::sdss && survey.band != band) {
            throw ConfigError(
                fmt::format("survey.band is '{}', but {} reads band '{}'; name another model or band", survey.band, path.string(), band));
        }
    });
    return std::move(*loaded);
}

/// Says how far a run is, at most once in this time.
constexpr std::chrono::seconds k_progress_every{30};

class Progress {
public:
    void operator()(const shard::HandOutProgress& now) {
        if (Clock::now() - said_ < k_progress_every) return;
        said_ = Clock::now();
        const double rate = static_cast<double>(now.handed_out) / seconds_since(start_);
        spdlog::info("{} of {} fields handed out, {:.2f} fields/s, {:.1f} h left", now.handed_out, now.total, rate,
                     static_cast<double>(now.total - now.handed_out) / rate / 3600);
    }

private:
    Clock::time_point start_ = Clock::now(), said_ = start_;
};

/// What is left to do after earlier attempts, on rank 0: fields without a record, then those that failed.
std::vector<std::int64_t> left_to_do(const FieldList& fields, const shard::JournalFolder::Scan& found) {
    std::vector<std::int64_t> todo, again;
    for (std::int64_t k = 0; k < fields.size(); ++k) {
        const auto entry = found.entries.find(fields.id(k));
        if (entry == found.entries.end())
            todo.push_back(k);
        else if (entry->second.entry.status != 0)
            again.push_back(k);
    }
    todo.insert(todo.end(), again.begin(), again.end());
    return todo;
}

/// What earlier attempts have done. A complete run's journal, kept for its failed fields, gives way to a run of another configuration.
/// @throws ConfigError, DataError, IoError
shard::JournalFolder::Scan found_in(const shard::JournalFolder& journals, bool dry_run) {
    try {
        return journals.scan();
    } catch (const ConfigError&) {
        if (!journals.is_complete()) throw;
        spdlog::warn("the journals of an earlier run, of which a catalogue was made, give way to this run's");
        if (!dry_run) journals.remove();
        return {};
    }
}

void print_plan(const FieldList& fields) {
    constexpr std::int64_t k_most = 20;
    for (std::int64_t k = 0; k < std::min(k_most, fields.size()); ++k)
        spdlog::info("would catalogue {} from {}", to_string(fields.id(k)), fields[k].path.string());
    if (fields.size() > k_most) spdlog::info("and {} more, the last {}", fields.size() - k_most, to_string(fields.id(fields.size() - 1)));
    spdlog::info("rank 0 has used {:.2f} GB of memory", peak_memory_gb());
}

/// The configuration as it was carried out: what "auto" and "as trained" came to is part of how the numbers were made.
std::string resolved(CatalogConfig config, const Cataloguer& cataloguer, encoder::Precision precision, const c10::Device& device) {
    config.precision = precision;
    config.device = device.is_cuda() ? encoder::DeviceChoice::cuda : encoder::DeviceChoice::cpu;
    if (config.sources_per_tile == 0 && !cataloguer.by_likelihood()) config.sources_per_tile = cataloguer.model().card.sources_per_tile;
    return to_toml(config, false);
}

}  // namespace

RunSummary run(const CatalogConfig& config, const RunOptions& options, const comm::Communicator& comm) {
    const auto start = Clock::now();
    const bool root = comm.rank() == 0;
    FieldList fields;  // rank 0's
    comm::agree_on(comm, [&] {
        check_catalog(config);
        if (root) fields = list_fields(config.survey, options.config_folder);
    });
    const fs::path model_path = resolve(options.config_folder, config.model);
    const c10::Device device = encoder::choose_device(config.device, comm);
    const encoder::Precision precision = encoder::choose_precision(config.precision, comm, device);
    const std::string_view precision_name = precision == encoder::Precision::bfloat16 ? "bfloat16" : "float32";
    LoadedModel loaded = load_on_all_ranks(model_path, config.survey, comm);
    std::optional<Cataloguer> made;
    comm::agree_on(comm, [&] { made.emplace(std::move(loaded.model), config, precision, device); });
    Cataloguer& cataloguer = *made;
    const std::string configuration = resolved(config, cataloguer, precision, device);
    const catalog::Provenance provenance{configuration, sha256_of_text(configuration), loaded.sha256, k_program_version, config.samples};

    std::string meaning;
    comm::agree_on(comm, [&] {
        if (root) meaning = fields.meaning(options.config_folder);
    });
    comm.broadcast(meaning);
    const shard::JournalFolder journals{options.output / "journal",
                                        {provenance.configuration_sha256, provenance.model_sha256, record_layout(), meaning}};
    shard::JournalFolder::Scan found;
    std::vector<std::int64_t> todo;
    std::optional<FolderLock> lock;
    comm::agree_on(comm, [&] {
        if (!root) return;
        if (!options.dry_run) {
            prepare_folder(options.output);
            lock.emplace(options.output / "journal", options.lock_patience);
        }
        if (options.fresh && !options.dry_run) journals.remove();
        if (!options.fresh) found = found_in(journals, options.dry_run);
        todo = left_to_do(fields, found);
        if (options.dry_run) return;
        if (!todo.empty()) journals.unmark_complete();
        if (found.next_attempt == 1) fs::remove_all(options.output / k_run_fields);  // of another run
    });
    RunSummary summary;
    summary.fields = fields.size();
    summary.left = std::ssize(todo);
    comm.broadcast(summary.fields);
    comm.broadcast(summary.left);
    comm.broadcast(found.next_attempt);
    spdlog::info("{} field(s) on {} rank(s), model {} in {} on {}", summary.fields, comm.size(), model_path.filename().string(),
                 precision_name, device.is_cuda() ? "GPUs" : "cores");
    const std::int64_t done_before = summary.fields - summary.left;
    if (done_before > 0) spdlog::info("{} of them are in the journal of earlier attempts; --fresh starts over", done_before);
    if (options.dry_run) {
        if (root) print_plan(fields);
        return summary;
    }

    RankWork work{config, cataloguer, options.output, options.most_failures};
    comm::agree_on(comm, [&] {
        const auto describe = [&](std::int64_t k) { return text_of(fields[k], found.entries.contains(fields.id(k))); };
        shard::HandOut hand_out{comm, std::move(todo), describe, Progress{}};
        work.run(hand_out, journals, found.next_attempt, comm.rank());
    });
    work.all_ended();
    summary.left -= comm.all_reduce_sum(work.sums().fields);
    double gather_s = 0;
    if (summary.left == 0) {
        const std::int32_t attempt = found.next_attempt;
        comm::agree_on(comm, [&] {
            if (root) found = journals.scan();
        });
        found.next_attempt = attempt;
        const auto gathering = Clock::now();
        const Totals totals = gather(options.output / "catalog.h5", journals, found, fields, provenance, comm);
        summary.failed = totals.failed;
        summary.candidates = totals.candidates;
        summary.sources = totals.sources;
        summary.seen_again = totals.seen_again;
        gather_s = seconds_since(gathering);
    }
    write_report(options.output / "run-report.json", comm, work.sums(), work.failures(),
                 {{"program_version", k_program_version},
                  {"ranks", comm.size()},
                  {"seconds", seconds_since(start)},
                  {"gather_s", gather_s},
                  {"device", device.is_cuda() ? "cuda" : "cpu"},
                  {"precision", precision_name},
                  {"attempt", found.next_attempt},
                  {"fields", summary.fields},
                  {"fields_done_before", done_before},
                  {"fields_left", summary.left},
                  {"candidates", summary.candidates},
                  {"sources", summary.sources},
                  {"seen_again", summary.seen_again}});
    comm::agree_on(comm, [&] {
        if (!root || summary.left > 0) return;
        if (summary.failed == 0) {
            journals.remove();
        } else {
            journals.mark_complete();
        }
    });
    return summary;
}

}  // namespace bliss::inference
