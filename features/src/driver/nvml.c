/* As much of NVIDIA's library (NVML) as the daemon asks of it. What it tells is read at each question from
 * the file `devices` in the folder that the program runs in: a line a device,
 *
 *     well|lost|reset|<errors> <percent busy> <bytes used> <bytes in all> <name>
 *
 * A number instead of a state is that of its memory's errors; one that is just well counts none. Which programs
 * compute where is read from the file `processes`, if there is one: a line a program,
 *
 *     <device> <pid> <bytes used>
 *
 * Names, numbers and shapes are those of nvml.h. */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15, RESET_REQUIRED = 16, UNKNOWN = 999 };

#define DEVICES_MAX 8

struct device {
  char state[8];
  unsigned busy;
  unsigned long long used, total;
  char name[64];
};

struct memory_v2 {
  unsigned version;
  unsigned long long total, reserved, free, used;
};

struct process {
  unsigned pid;
  unsigned long long used;
  unsigned gpu_instance, compute_instance;
};

struct utilization {
  unsigned gpu, memory;
};

static int read_devices(struct device devices[DEVICES_MAX]) {
  FILE *file = fopen("devices", "r");
  int count = 0;
  if (file == NULL) return -1;
  while (count < DEVICES_MAX) {
    struct device *next = &devices[count];
    if (fscanf(file, "%7s %u %llu %llu %63[^\n]", next->state, &next->busy, &next->used, &next->total, next->name) != 5)
      break;
    count++;
  }
  fclose(file);
  return count;
}

/* A handle is a device's number, counted from 1. */
static int find(void *handle, struct device *found) {
  struct device devices[DEVICES_MAX];
  int count = read_devices(devices), number = (int)(size_t)handle;
  if (count < 0) return UNKNOWN;
  if (number < 1 || number > count) return INVALID_ARGUMENT;
  *found = devices[number - 1];
  if (strcmp(found->state, "lost") == 0) return GPU_IS_LOST;
  if (strcmp(found->state, "reset") == 0) return RESET_REQUIRED;
  return SUCCESS;
}

int nvmlInit_v2(void) { return SUCCESS; }

int nvmlShutdown(void) { return SUCCESS; }

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
  snprintf(version, length, "550.54.14");
  return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
  struct device devices[DEVICES_MAX];
  int found = read_devices(devices);
  if (found < 0) return UNKNOWN;
  *count = (unsigned)found;
  return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
  *handle = (void *)((size_t)index + 1);
  return SUCCESS;
}

int nvmlDeviceGetName(void *handle, char *name, unsigned length) {
  struct device device;
  int result = find(handle, &device);
  if (result == SUCCESS) snprintf(name, length, "%s", device.name);
  return result;
}

int nvmlDeviceGetUtilizationRates(void *handle, struct utilization *rates) {
  struct device device;
  int result = find(handle, &device);
  if (result == SUCCESS) *rates = (struct utilization){device.busy, 0};
  return result;
}

int nvmlDeviceGetMemoryInfo_v2(void *handle, struct memory_v2 *memory) {
  struct device device;
  int result = find(handle, &device);
  if (result != SUCCESS) return result;
  memory->total = device.total;
  memory->used = device.used;
  memory->free = device.total - device.used;
  memory->reserved = 0;
  return SUCCESS;
}

/* Not every device counts its memory's errors. */
int nvmlDeviceGetTotalEccErrors(void *handle, int type, int counter, unsigned long long *count) {
  struct device device;
  int result = find(handle, &device);
  (void)type, (void)counter;
  if (result != SUCCESS) return result;
  if (!isdigit((unsigned char)device.state[0])) return NOT_SUPPORTED;
  *count = strtoull(device.state, NULL, 10);
  return SUCCESS;
}

/* Told that there is too little room, the caller asks again with as much as is needed. */
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, struct process *processes) {
  struct device device;
  struct process next = {0, 0, 0, 0};
  unsigned on, room = *count, found = 0;
  int result = find(handle, &device);
  FILE *file;
  if (result != SUCCESS) return result;
  file = fopen("processes", "r");
  while (file != NULL && fscanf(file, "%u %u %llu", &on, &next.pid, &next.used) == 3) {
    if (on + 1 != (unsigned)(size_t)handle) continue;
    if (found < room) processes[found] = next;
    found++;
  }
  if (file != NULL) fclose(file);
  *count = found;
  return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}
